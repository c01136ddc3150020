"""Systems trained by Adam on the mean of a per-example objective."""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PyTree

from vae_jax.configs import OptimizerConfig
from vae_jax.objectives.units import summarise
from vae_jax.systems.adam import scale_by_adam
from vae_jax.systems.base import System

BATCH_AXIS = "batch"
"""Name of the `vmap` over the examples of a step, for terms that work on all of them at once."""

_PLAIN = OptimizerConfig()


class GradientState(NamedTuple):
    """What the next step needs.

    Attributes:
        params: of the model and its guide.
        opt_state: Adam's moments.
        average: moving average of the params, as Optax keeps it; empty where none is asked for.
    """

    params: PyTree
    opt_state: PyTree
    average: PyTree = ()


def gradient_system(
    *,
    init: Callable,
    terms: Callable,
    generative: Callable,
    optimizer: OptimizerConfig = _PLAIN,
    step_terms: Callable | None = None,
    unit_terms: Callable | None = None,
    num_at_once: int | None = None,
) -> System:
    """Maximise the batch mean of `terms(params, key, x, step).objective` by Adam.

    Args:
        init: `(key, batch) -> params`.
        terms: `(params, key, x, step) -> NamedTuple` of scalars for ONE x, one of them `objective`;
            step counts the updates made, infinity where a finished model is evaluated.
        generative: `params -> GenerativeModel`.
        optimizer: clipping and averaging.
        step_terms: what a step differentiates, where that is a cheaper form of `terms`.
        unit_terms: `(params, key, x) -> dict` of what the latent units of ONE x say, for
            evaluation.
        num_at_once: examples evaluated at once, which bounds the memory; all if None.

    Returns:
        The system; its metrics are the fields of `terms`. Where params are averaged, `evaluate`
        and `generative` see their average without the pull to its start (Kingma, Ba 2015,
        arXiv 1412.6980, section 7.2).
    """
    clip = optax.identity()
    if optimizer.clip_norm is not None:
        clip = optax.clip_by_global_norm(optimizer.clip_norm)
    adam = scale_by_adam()
    is_averaged = optimizer.average_decay > 0
    averaging = optax.ema(optimizer.average_decay)

    def init_state(key, batch):
        params = init(key, batch)
        average = averaging.init(params) if is_averaged else ()
        return GradientState(params, adam.init(params), average)

    def evaluate(state, key, batch):
        params = kept_params(state)
        metrics = _batch_terms(terms, params, key, batch, jnp.inf, num_at_once)
        return metrics | units_of(params, key, batch)

    def units_of(params, key, batch):
        if unit_terms is None:
            return {}
        keys = _keys(jax.random.fold_in(key, 1), batch)
        return jax.vmap(unit_terms, (None, 0, 0))(params, keys, batch)

    def step(state, key, batch, *, learning_rate=1e-3):
        count = state.opt_state.count
        gradient, metrics = jax.grad(loss, has_aux=True)(state.params, key, batch, count)
        learning_rate += _zero_after(gradient)
        gradient, _ = clip.update(gradient, clip.init(state.params))
        direction, opt_state = adam.update(gradient, state.opt_state)
        params = jax.tree.map(lambda p, d: p - learning_rate * d, state.params, direction)
        average = averaging.update(params, state.average)[1] if is_averaged else ()
        return GradientState(params, opt_state, average), metrics

    def kept_params(state):
        if not is_averaged:
            return state.params
        # Before the first step there is no average yet.
        weight = -jnp.expm1(state.average.count * math.log(optimizer.average_decay))
        return jax.tree.map(
            lambda mean, params: jnp.where(weight > 0, mean / jnp.maximum(weight, 1e-9), params),
            state.average.ema,
            state.params,
        )

    def loss(params, key, batch, step):
        each = _batch_terms(step_terms or terms, params, key, batch, step)
        metrics = jax.tree.map(jnp.mean, each)
        return -metrics["objective"], metrics

    return System(
        lambda state: generative(kept_params(state)),
        init_state,
        step,
        evaluate,
        summarise if unit_terms else None,
    )


def _zero_after(gradient: PyTree) -> Float[Array, ""]:
    """0, known only when every leaf of a gradient is, on a CPU.

    An update that waits for it begins when nothing reads the old params any more. XLA then writes
    over them; without, it copies most of them in every step on a CPU. A barrier does not help: XLA
    drops it there before it decides on copies.
    """
    return jax.lax.platform_dependent(
        [leaf.ravel()[0] for leaf in jax.tree.leaves(gradient) if leaf.size],
        cpu=_zero_of,
        default=lambda firsts: jnp.float32(0.0),
    )


def _zero_of(firsts):
    nothing = 0.0 * jnp.sum(jnp.stack(firsts))  # no compiler may call it 0: it can be NaN
    return jnp.where(jnp.isnan(nothing), 0.0, nothing)


def _batch_terms(terms, params, key, batch, step, num_at_once=None):
    def one(example):
        return terms(params, *example, step)._asdict()

    examples = _keys(key, batch), batch
    if num_at_once is None:
        return jax.vmap(one, axis_name=BATCH_AXIS)(examples)
    return jax.lax.map(one, examples, batch_size=num_at_once)


def _keys(key, batch):
    return jax.random.split(key, jax.tree.leaves(batch)[0].shape[0])
