"""Engines over observations, the observations spread over the devices.

What an engine finds for an x depends on `fold_in(key, index_offset + i)` alone. So each device runs
the engine on rows of its own, with the index of its first row, and needs nothing of the others: no
observation ever moves.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import PyTree

from bayes_jax.batching import check_batch
from bayes_jax.model import LatentModel, check_observations, compilable
from vae_jax.sharding.placement import ROWS, make_mesh, place, replicate, split


def over_observations(engine: Callable, mesh: Mesh) -> Callable:
    """An engine with its observations spread over a mesh: what it finds without, up to rounding.

    It compiles once, as the engine does: another key, other params or other values of as many x
    trace nothing.

    Args:
        engine: a function of a module `(key, model, *rows, guide=None, batch_size=None,
            index_offset=0, **options)`, such as `annealed_draws`, `evidence_sandwich` (rows z, x),
            `sample_posterior`, `importance_draws`, `fit_posterior`, `smc_runs`; all it returns has
            the leading axis `[batch, ...]`, or is no array.
        mesh: of `make_mesh`.

    Returns:
        A function that takes what the engine takes, options that can be hashed; `batch_size` counts
        observations on each device. Its arrays lie where their rows do.

    Raises:
        InputError: when called, as the engine.

    Example:
        evidence = over_observations(annealed_evidence, make_mesh())(key, model, x, guide=guide)
    """

    def spread_engine(key, model, *rows, guide=None, index_offset=0, **options):
        model, guide = compilable(model), compilable(guide)
        # Rows that do not pair up, or lie outside the support: here, where they are values still.
        check_batch(rows, options.get("batch_size"))
        if isinstance(model, LatentModel):
            check_observations(model, rows[-1])
        num = jax.tree.leaves(rows)[0].shape[0]
        found = _run(
            *replicate((key, model, guide), mesh),
            place(_padded(rows, -num % mesh.size), split(mesh)),
            index_offset,
            engine=engine,
            mesh=mesh,
            options=tuple(sorted(options.items())),
        )
        found = jax.tree.map(_unboxed, found, is_leaf=_is_boxed)
        return found if num % mesh.size == 0 else _first(found, num)

    return functools.wraps(engine)(spread_engine)


def gathering(engine: Callable) -> Callable:
    """An engine that uses all devices there are, and gives every process all that it finds.

    Args:
        engine: as for `over_observations`.

    Returns:
        What does as the engine does, and is it where there is one device; arrays on the default
        device.
    """

    def gathered(*args, **options):
        if jax.device_count() == 1:
            return engine(*args, **options)
        return _gathered(over_observations(engine, make_mesh())(*args, **options))

    return functools.wraps(engine)(gathered)


@functools.partial(jax.jit, static_argnames=("engine", "mesh", "options"))
def _run(key, model, guide, rows, index_offset, *, engine, mesh, options):
    num_on_each = jax.tree.leaves(rows)[0].shape[0] // mesh.size

    def on_one(key, model, guide, rows, index_offset):
        first = index_offset + num_on_each * jax.lax.axis_index(ROWS)
        guided = {} if guide is None else {"guide": guide}
        found = engine(key, model, *rows, index_offset=first, **guided, **dict(options))
        return jax.tree.map(_boxed, found)

    all_of_it, part = PartitionSpec(), PartitionSpec(ROWS)
    return jax.shard_map(
        on_one,
        mesh=mesh,
        in_specs=(all_of_it, all_of_it, all_of_it, part, all_of_it),
        out_specs=part,
        check_vma=False,
    )(key, model, guide, rows, index_offset)


class _Box(NamedTuple):
    """What is no array and the same for all x, such as the kind of an evidence."""

    value: Any


# A node without leaves: it crosses `jit` as a part of the tree's structure.
jax.tree_util.register_pytree_node(_Box, lambda box: ((), box.value), lambda value, _: _Box(value))


def _boxed(leaf):
    return leaf if isinstance(leaf, jax.Array) else _Box(leaf)


def _is_boxed(node) -> bool:
    return isinstance(node, _Box)


def _unboxed(node):
    return node.value if _is_boxed(node) else node


def _padded(rows: PyTree, num_more: int) -> PyTree:
    """Rows for devices that have none left: the last one again."""
    if not num_more:
        return rows
    return jax.tree.map(lambda leaf: np.pad(leaf, _ends(leaf, num_more), mode="edge"), rows)


def _ends(leaf, num_more):
    return [(0, num_more), *[(0, 0)] * (leaf.ndim - 1)]


def _first(found: PyTree, num: int) -> PyTree:
    return jax.tree.map(lambda leaf: leaf[:num] if isinstance(leaf, jax.Array) else leaf, found)


def _gathered(found: PyTree) -> PyTree:
    """Through the host: engines compiled before take such arrays as they are."""
    whole = np.asarray
    if jax.process_count() > 1:
        whole = functools.partial(multihost_utils.process_allgather, tiled=True)
    return jax.tree.map(
        lambda leaf: jnp.asarray(whole(leaf)) if isinstance(leaf, jax.Array) else leaf, found
    )
