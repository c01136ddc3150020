"""States and results as flat lists of plain arrays, which is what checkpoints hold.

The order of the lists is the same in every process. That of `jax.tree.leaves` is not: NumPyro
flattens a Distribution in the order of a set of names, so that loc and scale change places from one
start of Python to the next.
"""

import hashlib
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial
from jaxtyping import Array, PyTree
from numpyro.distributions import Distribution


def plain(tree: PyTree) -> list[Array]:
    """The leaves of a tree, PRNG keys as the numbers they are made of.

    Args:
        tree: of arrays and keys.
    """
    return [_plain(leaf) for leaf in jax.tree.leaves(_named(tree))]


def rebuilt(like: PyTree, leaves: list[Array]) -> PyTree:
    """The tree of which `plain` gave the leaves.

    Args:
        like: a tree of the same structure, or its shapes from `jax.eval_shape`.
        leaves: from `plain`, or from a checkpoint.
    """
    expected, structure = jax.tree.flatten(_named(like))
    pairs = zip(expected, leaves, strict=True)
    named = jax.tree.unflatten(structure, [_as_was(leaf, data) for leaf, data in pairs])
    return _unnamed(like, named)


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
    named, _ = jax.tree_util.tree_flatten_with_path(_named(tree))
    found = {_path(path): _described(leaf) for path, leaf in named}
    return found.get("", found)


def kinds(tree: PyTree) -> list[str]:
    """What a tree is made of besides arrays: classes of distributions, functions of `Partial`s.

    Args:
        tree: of tuples, lists, dicts, distributions and `Partial`s.

    Returns:
        Their names, the outer before the inner.
    """
    if _is_distribution(tree):
        parts = zip(tree.gather_pytree_data_fields(), tree.tree_flatten()[0], strict=True)
        return [_full_name(type(tree)), *kinds(dict(parts))]
    if isinstance(tree, Partial):
        return [_full_name(tree.func), *kinds(tree.args), *kinds(tree.keywords)]
    if isinstance(tree, dict):
        return [name for key in sorted(tree) for name in kinds(tree[key])]
    if isinstance(tree, tuple | list):
        return [name for part in tree for name in kinds(part)]
    return []


def digest(tree: PyTree) -> str:
    """Twelve hex digits of all leaves together, shapes and dtypes included."""
    return hashlib.sha256(repr(fingerprint(tree)).encode()).hexdigest()[:12]


def _is_distribution(node: Any) -> bool:
    return isinstance(node, Distribution)


def _named(tree: PyTree) -> PyTree:
    """The tree with a dict of its parts for each Distribution: dicts are flattened by name."""

    def parts(node):
        if not _is_distribution(node):
            return node
        names, values = node.gather_pytree_data_fields(), node.tree_flatten()[0]
        return {name: _named(value) for name, value in zip(names, values, strict=True)}

    return jax.tree.map(parts, tree, is_leaf=_is_distribution)


def _unnamed(like: PyTree, named: PyTree) -> PyTree:
    """The tree of which `_named` gave this one; `like` says which distributions there are."""

    def whole(node, part):
        if not _is_distribution(node):
            return part
        names, (values, aux) = node.gather_pytree_data_fields(), node.tree_flatten()
        pairs = zip(names, values, strict=True)
        return node.tree_unflatten(aux, tuple(_unnamed(value, part[name]) for name, value in pairs))

    return jax.tree.map(whole, like, named, is_leaf=_is_distribution)


def _full_name(named: Any) -> str:
    named = named if hasattr(named, "__qualname__") else type(named)
    return f"{named.__module__}.{named.__qualname__}"


def _path(keys: tuple) -> str:
    """Without the marks of nodes whose parts have no names."""
    return re.sub("<flat index (.*?)>", r"\1", jax.tree_util.keystr(keys)).lstrip(".")


def _described(leaf: Any) -> str:
    values = leaf if isinstance(leaf, np.ndarray) else np.asarray(_plain(leaf))
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
