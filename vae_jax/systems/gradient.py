"""Systems trained by Adam on the mean of a per-example objective."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import PyTree

from vae_jax.systems.base import System


class GradientState(NamedTuple):
    """What the next step needs.

    Attributes:
        params: of the model and its guide.
        opt_state: Adam's moments.
    """

    params: PyTree
    opt_state: PyTree


def gradient_system(*, init: Callable, terms: Callable, generative: Callable) -> System:
    """Maximise the batch mean of `terms(params, key, x, step).objective` by Adam.

    Args:
        init: `(key, batch) -> params`.
        terms: `(params, key, x, step) -> NamedTuple` of scalars for ONE x, one of them `objective`;
            step counts the updates made, infinity where a finished model is evaluated.
        generative: `params -> GenerativeModel`.

    Returns:
        The system; its metrics are the fields of `terms`.
    """
    optimizer = optax.scale_by_adam()

    def init_state(key, batch):
        params = init(key, batch)
        return GradientState(params, optimizer.init(params))

    def evaluate(state, key, batch):
        return _batch_terms(state.params, key, batch, jnp.inf)

    def step(state, key, batch, *, learning_rate=1e-3):
        step = state.opt_state.count
        gradient, metrics = jax.grad(loss, has_aux=True)(state.params, key, batch, step)
        direction, opt_state = optimizer.update(gradient, state.opt_state)
        params = jax.tree.map(lambda p, d: p - learning_rate * d, state.params, direction)
        return GradientState(params, opt_state), metrics

    def loss(params, key, batch, step):
        metrics = jax.tree.map(jnp.mean, _batch_terms(params, key, batch, step))
        return -metrics["objective"], metrics

    def _batch_terms(params, key, batch, step):
        keys = jax.random.split(key, jax.tree.leaves(batch)[0].shape[0])
        return jax.vmap(terms, (None, 0, 0, None))(params, keys, batch, step)._asdict()

    return System(lambda state: generative(state.params), init_state, step, evaluate)
