"""States and results as flat lists of plain arrays, which is what checkpoints hold."""

import hashlib
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree


def plain(tree: PyTree) -> list[Array]:
    """The leaves of a tree, PRNG keys as the numbers they are made of.

    Args:
        tree: of arrays and keys.
    """
    return [_plain(leaf) for leaf in jax.tree.leaves(tree)]


def rebuilt(like: PyTree, leaves: list[Array]) -> PyTree:
    """The tree of which `plain` gave the leaves.

    Args:
        like: a tree of the same structure, or its shapes from `jax.eval_shape`.
        leaves: from `plain`, or from a checkpoint.
    """
    expected, structure = jax.tree.flatten(like)
    pairs = zip(expected, leaves, strict=True)
    return jax.tree.unflatten(structure, [_as_was(leaf, data) for leaf, data in pairs])


def abstract(like: PyTree) -> list[jax.ShapeDtypeStruct]:
    """Shapes and dtypes of what `plain` gives of such a tree."""
    return jax.eval_shape(plain, like)


def fingerprint(tree: PyTree) -> dict[str, str] | str:
    """Shape, dtype and content of every leaf, short enough to be shown to a person.

    Args:
        tree: of arrays and keys; None leaves nothing.

    Returns:
        Path of a leaf -> `float32[64, 16] 0f3a5b7c9d1e`; of an array that alone.
    """
    named, _ = jax.tree_util.tree_flatten_with_path(tree)
    found = {_path(path): _described(leaf) for path, leaf in named}
    return found.get("", found)


def digest(tree: PyTree) -> str:
    """Twelve hex digits of all leaves together, shapes and dtypes included."""
    return hashlib.sha256(repr(fingerprint(tree)).encode()).hexdigest()[:12]


def _path(keys: tuple) -> str:
    """Without the marks of nodes whose parts have no names."""
    return re.sub("<flat index (.*?)>", r"\1", jax.tree_util.keystr(keys)).lstrip(".")


def _described(leaf: Any) -> str:
    values = np.asarray(_plain(leaf))
    content = hashlib.sha256(values.tobytes()).hexdigest()[:12]
    return f"{values.dtype}{list(values.shape)} {content}"


def _plain(leaf):
    is_key = jnp.issubdtype(jnp.asarray(leaf).dtype, jax.dtypes.prng_key)
    return jax.random.key_data(leaf) if is_key else jnp.asarray(leaf)


def _as_was(expected, data):
    if not jnp.issubdtype(expected.dtype, jax.dtypes.prng_key):
        # A weak type would not come back from the disk, and would compile once more.
        return jax.lax.convert_element_type(data, data.dtype)
    return jax.random.wrap_key_data(data)
