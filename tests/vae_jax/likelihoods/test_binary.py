"""Bernoulli and continuous Bernoulli against SciPy and numbers worked out in double precision."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats

from vae_jax.likelihoods import binary


def test_bernoulli_log_prob_is_scipys():
    logits, x = np.array([-3.0, 0.0, 0.5, 4.0]), np.array([0, 1, 1, 0])
    expected = scipy.stats.bernoulli.logpmf(x, scipy.special.expit(logits)).sum()
    for dtype in (np.uint8, np.float32):
        value = binary.bernoulli(jnp.asarray(logits, jnp.float32)).log_prob(x.astype(dtype))
        np.testing.assert_allclose(value, expected, rtol=1e-6)


@pytest.mark.parametrize("logit", [90.0, -90.0, 1e4])
def test_bernoulli_is_finite_at_extreme_logits(logit):
    def log_prob(logits):
        return binary.bernoulli(logits).log_prob(jnp.zeros(4))

    value, gradient = jax.value_and_grad(log_prob)(jnp.full(4, logit))
    np.testing.assert_allclose(value, -4 * max(logit, 0), atol=1e-6)
    np.testing.assert_allclose(gradient, -float(logit > 0), atol=1e-6)


def test_initial_logits_are_those_of_the_clipped_means():
    x = np.array([[0, 1, 0, 1], [0, 1, 1, 0], [0, 1, 0, 0], [0, 1, 0, 0]], np.uint8)
    mean = binary.bernoulli(binary.bernoulli_features(x)).mean
    np.testing.assert_allclose(mean, [1e-3, 1 - 1e-3, 0.25, 0.25], rtol=1e-4)


LOGITS = np.array(
    [-300.0, -40.0, -3.0, -0.6, -0.4, -1e-3, -9e-4, 0.0, 9e-4, 0.3, 0.7, 5.0, 90.0, 500.0]
)


def exact_normaliser(logit):
    """log of the integral of exp(logit x) over [0, 1], in double precision."""
    if logit == 0:
        return 0.0
    size = abs(logit)
    return max(logit, 0) + np.log(-np.expm1(-size) / size)


@pytest.mark.parametrize("logit", LOGITS)
def test_continuous_bernoulli_is_a_truncated_exponential(logit):
    x = np.linspace(0, 1, 7)
    value = binary.ContinuousBernoulli(jnp.float32(logit)).log_prob(jnp.asarray(x, jnp.float32))
    expected = logit * x - exact_normaliser(logit)
    np.testing.assert_allclose(value, expected, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("logit", LOGITS)
def test_moments_of_the_continuous_bernoulli(logit):
    distribution = binary.ContinuousBernoulli(jnp.float32(logit))
    nodes, weights = np.polynomial.legendre.leggauss(400)
    x = 0.5 * (nodes + 1)
    density = 0.5 * weights * np.exp(logit * x - exact_normaliser(logit))
    mean = density @ x
    np.testing.assert_allclose(distribution.mean, mean, rtol=2e-5)
    np.testing.assert_allclose(distribution.variance, density @ (x - mean) ** 2, rtol=1e-4)


@pytest.mark.parametrize("logit", [-500.0, -100.0, -3.0, 0.0, 0.02, 3.0, 100.0, 500.0])
def test_the_mean_of_the_continuous_bernoulli_rises_by_its_variance(logit):
    """As that of every exponential family; wherever the logit is, gradients are finite."""

    def mean(logit):
        return binary.ContinuousBernoulli(logit).mean

    rise = jax.grad(mean)(jnp.float32(logit))
    variance = binary.ContinuousBernoulli(jnp.float32(logit)).variance
    np.testing.assert_allclose(rise, variance, rtol=1e-3)


@pytest.mark.parametrize("logit", LOGITS)
def test_the_quantiles_undo_the_distribution_function(logit):
    quantiles = np.array([0.01, 0.3, 0.5, 0.99])
    x = np.asarray(binary.ContinuousBernoulli(jnp.float32(logit)).icdf(quantiles), np.float64)
    size = abs(logit)
    distribution = x if size == 0 else np.expm1(logit * x) / np.expm1(logit)
    if logit > 50:
        distribution = np.exp(logit * (x - 1))
    # x itself is rounded to 2^-24, which counts as often as the distribution is steep.
    np.testing.assert_allclose(distribution, quantiles, rtol=1e-4, atol=1e-7 * (1 + size))


def test_initial_logits_of_the_continuous_bernoulli_give_the_clipped_means():
    x = np.array([[0.0, 0.2, 0.5, 1.0], [0.0, 0.4, 0.5, 1.0]], np.float32)
    mean = binary.continuous_bernoulli(binary.continuous_bernoulli_features(x)).mean
    np.testing.assert_allclose(mean, [1e-3, 0.3, 0.5, 1 - 1e-3], rtol=1e-4)
