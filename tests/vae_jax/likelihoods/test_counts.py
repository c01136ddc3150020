"""Counts against SciPy."""

import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats

from vae_jax.likelihoods import counts

X = np.array([0, 3, 250])


def test_poisson_is_scipys():
    log_rate = np.array([-5.0, 1.0, 5.5])
    value = counts.poisson(jnp.asarray(log_rate, jnp.float32)).log_prob(X)
    expected = scipy.stats.poisson.logpmf(X, np.exp(log_rate)).sum()
    np.testing.assert_allclose(value, expected, rtol=1e-4)


def test_negative_binomial_is_scipys_by_mean_and_concentration():
    log_mean, log_size = np.array([-5.0, 1.0, 5.5]), np.array([0.0, -1.0, 3.0])
    head = counts.negative_binomial(
        *(jnp.asarray(part, jnp.float32) for part in (log_mean, log_size))
    )
    mean, size = np.exp(log_mean), 1 / (np.exp(-log_size) + 1e-3)
    expected = scipy.stats.nbinom.logpmf(X, size, size / (size + mean)).sum()
    np.testing.assert_allclose(head.log_prob(X), expected, rtol=1e-4)
    np.testing.assert_allclose(head.variance, mean + mean**2 / size, rtol=1e-4)


def test_a_concentration_without_bounds_is_a_poisson():
    log_mean = jnp.array([-1.2, 0.5, 2.0])
    x = np.array([0, 3, 11])
    found = counts.negative_binomial(log_mean, jnp.full(3, 30.0)).log_prob(x)
    expected = scipy.stats.poisson.logpmf(x, np.exp(log_mean)).sum()
    np.testing.assert_allclose(found, expected, atol=0.02)


def test_training_comes_back_from_beyond_the_most_concentration():
    x, log_mean = np.array([0.0, 40.0]), jnp.log(jnp.array([20.0, 20.0]))

    def log_prob(log_concentration):
        return counts.negative_binomial(log_mean, log_concentration).log_prob(x)

    # Counts that spread more than a Poisson want less of it.
    assert np.all(jax.grad(log_prob)(jnp.full(2, np.log(3e3))) < -1e-3)


def test_the_first_concentration_is_by_moments_within_bounds():
    rng = np.random.default_rng(0)
    x = np.stack(
        [
            rng.negative_binomial(2.0, 2 / (2 + 10), 50_000),
            rng.poisson(3.0, 50_000),
            np.zeros(50_000, int),
        ],
        axis=1,
    )
    size = np.exp(counts.log_concentration(x))
    np.testing.assert_allclose(size[0], 2.0, rtol=0.1)
    assert size[1] > 50
    assert np.all(np.isfinite(size))
