"""Epochs over data that stay on the host: the device holds two chunks of batches at a time.

While the steps of one chunk are made, the next is gathered and sent. Order, noise and steps are
those of data that lie on the device, and so are the results, up to rounding. Where a number is not
finite, no chunk follows the one that is on its way by then.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key, PyTree

from vae_jax.training import epochs


def train_epochs(
    states: PyTree,
    keys: Key[Array, " seed"],
    data: Any,
    learning_rates: Float[Array | np.ndarray, " seed"],
    active: Bool[Array | np.ndarray, " seed"],
    *,
    step: Callable,
    batch_size: int,
    stream_steps: int,
) -> tuple[PyTree, dict, Bool[Array, " seed"]]:
    """What `epochs.train_epochs` does, from data on the host.

    Args:
        states: one for each seed, stacked; their memory is given to the new ones.
        keys: `[seed]`.
        data: numpy arrays `[num, ...]`, shared.
        learning_rates: of every step of a seed.
        active: False keeps a seed's state as it is.
        step: the system's.
        batch_size: examples per step and seed.
        stream_steps: most steps whose examples are sent at once.

    Returns:
        As `epochs.train_epochs`.
    """
    num_examples = jax.tree.leaves(data)[0].shape[0]
    order, key_steps = epochs.plan_epochs(keys, num_examples=num_examples, batch_size=batch_size)
    order = np.asarray(order)
    num_steps = order.shape[1]
    totals = []
    for first, rows in _chunks(order, stream_steps):
        chunk = jax.device_put(jax.tree.map(lambda leaf, rows=rows: leaf[rows], data))
        # No third chunk before the first is used up; none at all where nobody could use it.
        if totals and not np.any(active & _all_finite(totals[-1])):
            break
        num = min(num_steps - first, rows.shape[1])
        states, total = _train_chunk(
            states, key_steps, chunk, learning_rates, active, first, num, step=step
        )
        totals.append(total)
    means = jax.tree.map(lambda *parts: sum(parts) / num_steps, *totals)
    return states, means, jax.vmap(epochs.all_finite)(states)


def _all_finite(totals) -> Bool[np.ndarray, " seed"]:
    return np.all([np.isfinite(np.asarray(total)) for total in jax.tree.leaves(totals)], axis=0)


def _chunks(order: Int[np.ndarray, "seed step batch"], most: int):
    """(first step, rows `[seed, step, batch]`), all of one size, so that they share a program.

    The last one is filled up with steps that are not made.
    """
    num_steps = order.shape[1]
    num_chunks = -(-num_steps // most)
    size = -(-num_steps // num_chunks)
    steps = np.minimum(np.arange(num_chunks * size), num_steps - 1)
    for first in range(0, num_steps, size):
        yield first, order[:, steps[first : first + size]]


@partial(jax.jit, static_argnames="step", donate_argnums=0)
def _train_chunk(states, key_steps, chunk, learning_rates, active, first, num, *, step):
    """`num` steps of every seed from step `first` on, and the sums of their metrics."""

    def one(state, key_steps, batches, learning_rate, active):
        def one_step(index, carry):
            state, total = carry
            state, metrics = run_step(state, index)
            return state, jax.tree.map(jnp.add, total, metrics)

        def run_step(state, index):
            batch = epochs.as_float(jax.tree.map(lambda leaf: leaf[index], batches))
            key_step = jax.random.fold_in(key_steps, first + index)
            return step(state, key_step, batch, learning_rate=learning_rate)

        _, shapes = jax.eval_shape(run_step, state, 0)
        none = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
        new, total = jax.lax.fori_loop(0, num, one_step, (state, none))
        return epochs.keep_inactive(new, state, active, num_seeds=num_seeds), total

    num_seeds = len(key_steps)
    return epochs.over_seeds(one, states, key_steps, chunk, learning_rates, active)
