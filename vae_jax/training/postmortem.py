"""Where an epoch went wrong: the same epoch once more, step by step, until a number is bad.

A compiled epoch says only that something in it was not finite. Looking after every step would cost
every run; repeating the epoch costs the one that failed.
"""

import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray, PyTree

from vae_jax.training import epochs


class Fault(NamedTuple):
    """The first number of an epoch that was not finite.

    Attributes:
        step: of the epoch, counted from 1.
        name: a metric of that step, or the path of a leaf of the state after it.
        operation: the first that made NaN, with the line it stands in; None if none did, or nobody
            asked.
    """

    step: int
    name: str
    operation: str | None = None

    def __str__(self):
        made = f", first made by {self.operation}" if self.operation else ""
        return f"step {self.step}: {self.name} is not finite{made}"


def examine(
    state: PyTree,
    key: PRNGKeyArray,
    data: Any,
    learning_rate: float,
    *,
    step: Callable,
    batch_size: int,
    debug_nans: bool = False,
) -> Fault | None:
    """Repeat an epoch of one seed step by step.

    Args:
        state: before the epoch.
        key: of the epoch, as `epochs.train_epoch` took it.
        data: `[num, ...]`, on the device or on the host.
        learning_rate: of every step.
        step: the system's.
        batch_size: examples per step.
        debug_nans: run the bad step a second time, uncompiled, to see which operation it is.

    Returns:
        The first fault; None where all is finite now, for single steps may round otherwise.
    """
    num_examples = jax.tree.leaves(data)[0].shape[0]
    orders, keys = epochs.plan_epochs(key[None], num_examples=num_examples, batch_size=batch_size)
    run = partial(_run_step, step=step, learning_rate=np.float32(learning_rate))
    compiled = jax.jit(run)
    for index, rows in enumerate(np.asarray(orders[0])):
        batch = jax.tree.map(lambda leaf, rows=rows: leaf[rows], data)
        key_step = jax.random.fold_in(keys[0], index)
        state_before, (state, metrics) = state, compiled(state, key_step, batch)
        if name := _first_bad(metrics, state):
            operation = None
            if debug_nans:
                operation = _first_nan(partial(run, state_before, key_step, batch))
            return Fault(index + 1, name, operation)
    return None


def first_nan_leaf(state: PyTree) -> str | None:
    """The path of the first leaf of a state that holds NaN; infinity may be a log of zero."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(state):
        if jnp.issubdtype(leaf.dtype, jnp.inexact) and jnp.any(jnp.isnan(leaf)):
            return f"the state's {jax.tree_util.keystr(path) or 'only leaf'}"
    return None


def _run_step(state, key, batch, *, step, learning_rate):
    return step(state, key, epochs.as_float(batch), learning_rate=learning_rate)


def _first_bad(metrics: dict, state: PyTree) -> str | None:
    for name, value in metrics.items():
        if not jnp.all(jnp.isfinite(value)):
            return f"train {name}"
    for path, leaf in jax.tree_util.tree_leaves_with_path(state):
        if not epochs.all_finite(leaf):
            return f"the state's {jax.tree_util.keystr(path) or 'only leaf'}"
    return None


def _first_nan(run: Callable) -> str | None:
    """The operation of an uncompiled run that gives NaN first, and where it was asked for."""
    try:
        with jax.debug_nans(True), jax.disable_jit():
            run()
    except FloatingPointError as error:
        return f"{_primitive(error)} ({_line(error)})"
    return None


def _primitive(error: FloatingPointError) -> str:
    """ "invalid value (nan) encountered in log" -> "log"."""
    return str(error).splitlines()[0].rpartition(" in ")[2]


def _line(error: FloatingPointError) -> str:
    """The innermost line that is not of an installed library."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "site-packages" not in frame.filename]
    frame = (own or frames)[-1]
    return f"{Path(frame.filename).name}:{frame.lineno}: {frame.line}"
