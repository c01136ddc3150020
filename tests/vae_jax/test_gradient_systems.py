"""What moves the params: clipped gradients, and the average that is kept."""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from vae_jax.configs import OptimizerConfig
from vae_jax.systems.adam import scale_by_adam
from vae_jax.systems.gradient import gradient_system

KEY = jax.random.key(0)
RATE = 0.1


class Terms(NamedTuple):
    objective: jax.Array


def quadratic(params, key, x, step):
    return Terms(-jnp.sum(jnp.square(params["w"] - x)))


def make(**options):
    return gradient_system(
        init=lambda key, batch: {"w": jnp.zeros(2)},
        terms=quadratic,
        generative=lambda params: params,
        optimizer=OptimizerConfig(**options),
    )


def batches(num):
    # Gradients of very different lengths: Adam is blind to a scale that never changes.
    x = (
        np.random.default_rng(0).normal(size=(num, 3, 2))
        * np.geomspace(0.1, 100, num)[:, None, None]
    )
    return jnp.asarray(x, jnp.float32)


def trajectory(system, x):
    state = system.init(KEY, x[0])
    params = []
    for batch in x:
        state, _ = system.step(state, KEY, batch, learning_rate=RATE)
        params.append(np.asarray(state.params["w"], np.float64))
    return state, np.array(params)


@pytest.mark.parametrize("clip_norm", [None, 1.0])
def test_steps_are_adams_along_gradients_of_bounded_length(clip_norm):
    x = batches(8)
    _, found = trajectory(make(clip_norm=clip_norm), x)
    adam = optax.adam(RATE)
    params = jnp.zeros(2)
    state = adam.init(params)
    for batch, after in zip(x, found, strict=True):
        gradient = 2 * (params - batch.mean(0))
        if clip_norm is not None:
            gradient *= min(1.0, clip_norm / float(jnp.linalg.norm(gradient)))
        updates, state = adam.update(gradient, state)
        params = params + updates
        np.testing.assert_allclose(after, params, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.5, 0.9)])
def test_directions_are_optax_s_for_gradients_of_every_size(betas):
    """Where the root of the second moment is far above epsilon, near it, and far below."""
    ours, theirs = scale_by_adam(*betas), optax.scale_by_adam(*betas)
    sizes = jnp.array([0.0, 1e-12, 1e-9, 1e-8, 1e-6, 1.0, 1e4])
    states = [adam.init(sizes) for adam in (ours, theirs)]
    for step in range(50):
        gradient = sizes * jax.random.normal(jax.random.fold_in(KEY, step), sizes.shape)
        found, states[0] = ours.update(gradient, states[0])
        expected, states[1] = theirs.update(gradient, states[1])
        np.testing.assert_allclose(found, expected, rtol=2e-5)
    chex.assert_trees_all_close(*states, rtol=1e-6)


@pytest.mark.parametrize("decay", [0.8, 0.9999])
def test_what_is_kept_is_the_average_without_the_pull_to_its_start(decay):
    x = batches(6)
    system = make(average_decay=decay)
    state, params = trajectory(system, x)
    plain, same = trajectory(make(), x)
    np.testing.assert_array_equal(params, same)
    weights = decay ** np.arange(len(params))[::-1]
    expected = weights @ params / weights.sum()
    np.testing.assert_allclose(system.generative(state)["w"], expected, rtol=1e-5)
    objective = -np.sum(np.square(expected - np.asarray(x[0])), axis=1)
    values = system.evaluate(state, KEY, x[0])["objective"]
    np.testing.assert_allclose(values, objective, rtol=1e-4)
    np.testing.assert_allclose(make().generative(plain)["w"], params[-1], rtol=1e-6)


def test_before_the_first_step_the_params_are_kept():
    system = make(average_decay=0.99)
    state = system.init(KEY, batches(1)[0])
    moved = state._replace(params={"w": jnp.array([3.0, 4.0])})
    np.testing.assert_array_equal(system.generative(moved)["w"], [3, 4])
