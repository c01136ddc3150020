"""Whole epochs as one compiled call: of training, of validation, for one seed or many.

The data stay on the device (uint8 stays uint8 there). Batches have a fixed size: every epoch draws
a new permutation and leaves out its remainder, which is another one each time. On a mesh, state and
data lie on every device and each batch is spread over all: the gradients of its parts are averaged
where XLA sees fit. Batches and noise are those of one device.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, Int, Key, PRNGKeyArray, PyTree

from vae_jax.sharding import placement
from vae_jax.systems.base import System

EVALUATION_BATCH = 1000
"""Most examples in memory at once when a whole split is evaluated."""


class Keys(NamedTuple):
    """The independent keys of a run."""

    init: PRNGKeyArray
    epochs: PRNGKeyArray
    validation: PRNGKeyArray


def split_key(key: PRNGKeyArray) -> Keys:
    """The keys of a run from its one key."""
    return Keys(*jax.random.split(key, 3))


@partial(jax.jit, static_argnames="init")
def initial_state(key: PRNGKeyArray, data: Any, *, init: Callable) -> PyTree:
    """The state before the first epoch.

    Args:
        key: of the initialisation.
        data: `[num, ...]`.
        init: the system's.
    """
    return init(key, data)


@partial(jax.jit, static_argnames=("step", "batch_size", "mesh"), donate_argnums=0)
def train_epoch(
    state: PyTree,
    key: PRNGKeyArray,
    data: Any,
    learning_rate: float | Float[Array, ""],
    *,
    step: Callable,
    batch_size: int,
    mesh: Mesh | None = None,
) -> tuple[PyTree, dict, Array]:
    """One pass over the data in a new order, as one compiled scan; the remainder is left out.

    Args:
        state: of the system; its memory is given to the new one.
        key: of the order and of the noise.
        data: `[num, ...]` on the device.
        learning_rate: of every step.
        step: the system's.
        batch_size: examples per step.
        mesh: the devices that each batch is spread over; None for the one there is.

    Returns:
        The new state, the means of the steps' metrics, and whether all of the state is finite.
    """
    num_examples = jax.tree.leaves(data)[0].shape[0]
    order, key_steps = _plan(key, num_examples, batch_size)

    def one_step(state, inputs):
        index, rows = inputs
        batch = _take(data, rows, mesh)
        key_step = jax.random.fold_in(key_steps, index)
        return step(state, key_step, batch, learning_rate=learning_rate)

    state, metrics = jax.lax.scan(one_step, state, (jnp.arange(len(order)), order))
    # One bad step makes its mean bad; the state shows what the very last update did.
    return state, jax.tree.map(jnp.mean, metrics), all_finite(state)


@partial(jax.jit, static_argnames=("step", "batch_size", "mesh"), donate_argnums=0)
def train_epochs(
    states: PyTree,
    keys: Key[Array, " seed"],
    data: Any,
    learning_rates: Float[Array, " seed"],
    active: Bool[Array, " seed"],
    *,
    step: Callable,
    batch_size: int,
    mesh: Mesh | None = None,
) -> tuple[PyTree, dict, Bool[Array, " seed"]]:
    """`train_epoch` of many seeds or learning rates of one system at once.

    Args:
        states: one for each seed, stacked; their memory is given to the new ones.
        keys: `[seed]`; each seed has its own order and noise.
        data: `[num, ...]` on the device, shared.
        learning_rates: of every step of a seed.
        active: False keeps a seed's state as it is.
        step: the system's.
        batch_size: examples per step and seed.
        mesh: the devices that each batch is spread over; None for the one there is.

    Returns:
        As `train_epoch`, leaves `[seed, ...]`.
    """
    options = {"step": step, "batch_size": batch_size, "mesh": mesh}

    def one(state, key, learning_rate, active):
        new, *rest = train_epoch(state, key, data, learning_rate, **options)
        return keep_inactive(new, state, active, num_seeds=len(keys)), *rest

    return placement.everywhere(over_seeds(one, states, keys, learning_rates, active), mesh)


@partial(jax.jit, static_argnames=("num_examples", "batch_size"))
def plan_epochs(
    keys: Key[Array, " seed"], *, num_examples: int, batch_size: int
) -> tuple[Int[Array, "seed step batch"], Key[Array, " seed"]]:
    """The rows of every step of an epoch, and the key that the steps' keys are folded from."""
    return jax.vmap(lambda key: _plan(key, num_examples, batch_size))(keys)


def evaluate(
    key: PRNGKeyArray,
    system: System,
    state: PyTree,
    data: Any,
    *,
    batch_size: int = EVALUATION_BATCH,
) -> dict[str, Float[Array, " num"]]:
    """The metrics of every example of a split, unreduced; a ragged last batch is exact.

    Args:
        key: of the noise in the metrics.
        system: a gradient system.
        state: of the system.
        data: `[num, dim]`.
        batch_size: most examples in memory at once.

    Returns:
        Metric name -> `[num]` in nats per example; of latent units `[num, latent]`.
    """
    data = jax.tree.map(jnp.asarray, data)
    return _evaluate(state, key, data, evaluate=system.evaluate, batch_size=batch_size)


@partial(jax.jit, static_argnames=("evaluate", "mesh"))
def evaluate_seeds(
    states: PyTree,
    keys: Key[Array, " seed"],
    data: Any,
    *,
    evaluate: Callable,
    mesh: Mesh | None = None,
) -> dict[str, Float[Array, "seed num"]]:
    """`evaluate` of many seeds at once.

    Args:
        states: stacked.
        keys: `[seed]`.
        data: `[num, ...]`, shared.
        evaluate: the system's.
        mesh: the devices that examples are spread over; None for the one there is.
    """
    options = {"evaluate": evaluate, "batch_size": EVALUATION_BATCH, "mesh": mesh}

    def one(state, key):
        return _evaluate(state, key, data, **options)

    return placement.everywhere(over_seeds(one, states, keys), mesh)


def over_seeds(function: Callable, *stacked: PyTree) -> PyTree:
    """`function` of every seed: at once, or one after another on a CPU.

    A CPU is filled by one seed, whose params stay in its cache for a whole epoch; an accelerator is
    not. A single seed runs the very program it would have alone.
    """
    if jax.tree.leaves(stacked)[0].shape[0] > 1:
        in_turn = partial(jax.lax.map, lambda one: function(*one))
        return jax.lax.platform_dependent(
            stacked, cpu=in_turn, default=lambda all_seeds: jax.vmap(function)(*all_seeds)
        )
    alone = jax.tree.map(lambda leaf: leaf[0], stacked)
    return jax.tree.map(lambda leaf: leaf[None], function(*alone))


def keep_inactive(new: PyTree, old: PyTree, active: Bool[Array, ""], *, num_seeds: int) -> PyTree:
    """The new state of a seed that is still trained; a run alone is active, or over."""
    return jax.tree.map(partial(jnp.where, active), new, old) if num_seeds > 1 else new


def as_float(data: PyTree) -> PyTree:
    """Integers as float32, the rest as it is."""
    return jax.tree.map(
        lambda leaf: leaf.astype(jnp.float32) if jnp.issubdtype(leaf.dtype, jnp.integer) else leaf,
        data,
    )


@jax.jit
def all_finite(tree: PyTree) -> Bool[Array, ""]:
    """Whether every float of a tree is finite."""
    leaves = [leaf for leaf in jax.tree.leaves(tree) if jnp.issubdtype(leaf.dtype, jnp.inexact)]
    return jnp.all(jnp.array([jnp.all(jnp.isfinite(leaf)) for leaf in leaves] or [True]))


@partial(jax.jit, static_argnames=("evaluate", "batch_size", "mesh"))
def _evaluate(state, key, data, *, evaluate, batch_size, mesh=None):
    num_examples = jax.tree.leaves(data)[0].shape[0]
    num_batches = -(-num_examples // batch_size)
    batch_size = -(-num_examples // num_batches)
    # The padding repeats the last example, and its metrics are cut off below.
    rows = jnp.minimum(jnp.arange(num_batches * batch_size), num_examples - 1)

    def one_batch(inputs):
        index, rows = inputs
        return evaluate(state, jax.random.fold_in(key, index), _take(data, rows, mesh))

    inputs = jnp.arange(num_batches), rows.reshape(num_batches, batch_size)
    metrics = jax.lax.map(one_batch, inputs)
    return jax.tree.map(
        lambda values: values.reshape(-1, *values.shape[2:])[:num_examples], metrics
    )


def _plan(key, num_examples, batch_size):
    key_order, key_steps = jax.random.split(key)
    num_steps = num_examples // batch_size
    order = jax.random.permutation(key_order, num_examples)[: num_steps * batch_size]
    return order.reshape(num_steps, batch_size), key_steps


def _take(data, rows, mesh):
    rows = placement.spread(rows, mesh)
    batch = jax.tree.map(lambda leaf: leaf[rows], data)
    return as_float(placement.spread(batch, mesh))
