"""Run a function of ONE observation over a batch: keys by index, memory by batch_size."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, PRNGKeyArray, PyTree

from bayes_jax.errors import InputError

Index = int | Int[Array, ""]
"""Of an observation in the whole data set: traced where each device has observations of its own."""


def map_observations(
    function: Callable,
    key: PRNGKeyArray,
    data: PyTree,
    *,
    batch_size: int | None = None,
    index_offset: Index = 0,
) -> PyTree:
    """Call `function(key_i, data_i)` for every row of `data` and stack what it returns.

    key_i is `fold_in(key, index_offset + i)`, so a row's result depends on its index alone and not
    on `batch_size` (beyond float32 rounding) nor on how the rows are spread over devices.

    Args:
        function: takes one key and one row.
        key: the parent key.
        data: a pytree whose leaves share their leading axis `[batch, ...]`.
        batch_size: rows in memory at once; None takes all at once.
        index_offset: index of the first row in the whole data set.

    Returns:
        The pytree of results, leaves `[batch, ...]`.
    """
    num_rows = jax.tree.leaves(data)[0].shape[0]
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, index_offset + jnp.arange(num_rows))
    return map_rows(lambda row: function(*row), (keys, data), batch_size=batch_size)


def map_rows(function: Callable, rows: PyTree, *, batch_size: int | None = None) -> PyTree:
    """Call `function(row)` for every row, `batch_size` of them in memory at once.

    Args:
        function: takes one row.
        rows: a pytree whose leaves share their leading axis `[batch, ...]`.
        batch_size: None takes all at once.

    Returns:
        The pytree of results, leaves `[batch, ...]`.
    """
    if batch_size is None or batch_size >= jax.tree.leaves(rows)[0].shape[0]:
        return jax.vmap(function)(rows)
    return jax.lax.map(function, rows, batch_size=batch_size)


def check_batch(data: PyTree, batch_size: int | None) -> None:
    """Refuse rows that do not pair up and batch sizes that hold nothing.

    Raises:
        InputError: naming the sizes found.
    """
    sizes = sorted({leaf.shape[0] if leaf.ndim else 0 for leaf in jax.tree.leaves(data)})
    if len(sizes) != 1 or sizes[0] == 0:
        raise InputError(f"leading axes of the data are {sizes}: expected one size of at least 1")
    if batch_size is not None and batch_size < 1:
        raise InputError(
            f"batch_size is {batch_size}: expected at least 1, or None for all at once"
        )
