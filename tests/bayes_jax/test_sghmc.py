"""Stochastic gradient HMC: moments of Gaussian targets, under exact and noisy gradients."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import solve_discrete_lyapunov

from bayes_jax.sghmc import at_rest, normals_like, sghmc_step

KEY = jax.random.key(0)


def chains(gradient, position, *, num_steps, **options):
    """Where independent chains, rows of the position, stand after so many steps."""

    def one_step(walker, key):
        key_gradient, key_step = jax.random.split(key)
        g = gradient(key_gradient, walker.position)
        return sghmc_step(walker, key_step, g, **options), None

    keys = jax.random.split(KEY, num_steps)
    run = jax.jit(lambda start: jax.lax.scan(one_step, start, keys)[0])
    return run(at_rest(position)).position


def check_variance(draws, expected):
    """Of independent Gaussian draws, whose variance has relative error sqrt(2 / num)."""
    np.testing.assert_allclose(draws.var(0) / expected, 1, atol=4 * np.sqrt(2 / len(draws)))


@pytest.mark.parametrize("temperature", [1.0, 0.25])
def test_exact_gradients_give_a_gaussian_its_moments_at_any_stable_step(temperature):
    loc, sd = jnp.array([1.0, -2.0, 30.0]), jnp.array([1.0, 0.1, 20.0])
    draws = chains(
        lambda key, q: {"w": (loc - q["w"]) / sd**2},
        {"w": jnp.tile(loc + sd, (20_000, 1))},
        scale={"w": sd * jnp.array([1.0, 0.8, 1.0])},
        step_size=1.5,
        friction=0.7,
        temperature=temperature,
        num_steps=40,
    )["w"]
    stderr = np.sqrt(temperature) * sd / np.sqrt(len(draws))
    assert np.all(np.abs(draws.mean(0) - loc) < 4 * stderr)
    check_variance(draws, temperature * sd**2)


def stationary_variance(step_size, friction, noise):
    """Of a standard normal target under gradient noise, by the covariance that a step maps onto
    itself."""
    h, c = step_size, np.exp(-step_size * friction)
    kick = np.array([[1, 0], [-h, 1]])
    drift = np.array([[1, h / 2], [0, 1]])
    rub = np.diag([1, c])
    step = drift @ rub @ drift @ kick
    added = drift @ np.diag([0, 1 - c**2]) @ drift.T
    of_gradient = drift @ rub @ drift @ np.diag([0, h**2 * noise]) @ (drift @ rub @ drift).T
    return solve_discrete_lyapunov(step, added + of_gradient)[0, 0]


@pytest.mark.parametrize(("step_size", "friction", "noise"), [(0.1, 2.0, 8.0), (0.4, 1.0, 3.0)])
def test_noise_of_gradients_heats_by_as_much_as_is_stated(step_size, friction, noise):
    def gradient(key, q):
        return -q + jnp.sqrt(noise) * jax.random.normal(key, q.shape)

    draws = chains(
        gradient,
        jnp.zeros(20_000),
        scale=1.0,
        step_size=step_size,
        friction=friction,
        num_steps=int(20 / step_size),
    )
    expected = stationary_variance(step_size, friction, noise)
    check_variance(draws, expected)
    stated = 1 + step_size * noise / (2 * friction)
    assert abs(expected - stated) < 0.5 * step_size * (stated - 1)
    assert stationary_variance(step_size, friction, 0.0) == pytest.approx(1)


def test_batches_of_a_regression_give_its_conjugate_posterior():
    """Weights of a linear model, gradients from batches of 20 of 100 rows."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(100, 2)) * [1.0, 3.0]
    y = features @ [0.5, -0.2] + rng.normal(size=100)
    precision = features.T @ features + np.eye(2)
    covariance = np.linalg.inv(precision)
    mean = covariance @ features.T @ y
    rows, targets = jnp.asarray(features), jnp.asarray(y)

    def gradient(key, weights):
        def of_chain(w, index):
            x = rows[index]
            return 5 * x.T @ (targets[index] - x @ w) - w

        return jax.vmap(of_chain)(weights, jax.random.randint(key, (len(weights), 20), 0, 100))

    draws = chains(
        gradient,
        jnp.tile(mean, (2000, 1)),
        scale=jnp.asarray(np.diag(precision) ** -0.5),
        step_size=0.05,
        friction=2.0,
        num_steps=150,
    )
    assert np.all(np.abs(draws.mean(0) - mean) < 4 * np.sqrt(np.diag(covariance) / len(draws)))
    heat = 1 + 0.05 * 5 / (2 * 2.0)  # V = 100 / 20 in units of the scale
    sampling = 4 * np.sqrt(2 / len(draws))
    np.testing.assert_allclose(draws.var(0) / np.diag(covariance), heat, atol=sampling + 0.01)


def test_without_temperature_the_chain_settles_at_the_mode():
    end = chains(
        lambda key, q: 3.0 - q,
        jnp.zeros(1),
        scale=1.0,
        step_size=0.3,
        friction=1.0,
        temperature=0.0,
        num_steps=200,
    )
    np.testing.assert_allclose(end, 3, rtol=1e-4)


def test_leaves_get_noise_of_their_own():
    drawn = normals_like(KEY, {"a": jnp.zeros((2, 3)), "b": jnp.zeros((2, 3))})
    assert len(np.unique(np.concatenate([drawn["a"], drawn["b"]]))) == 12
    same = partial(normals_like, KEY, {"a": jnp.zeros((2, 3)), "b": jnp.zeros((2, 3))})
    np.testing.assert_array_equal(same()["a"], drawn["a"])
