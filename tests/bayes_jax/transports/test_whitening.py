"""The whitening map has the draws' mean and covariance, shrunk exactly as its docstring states."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bayes_jax.transports.whitening import (
    RELATIVE_JITTER,
    affine_from_draws,
    shrunk_cholesky,
)

MIXING = np.array([[2.0, 0.0, 0.0], [1.5, 0.5, 0.0], [-0.4, 0.3, 1.0]])


def correlated_draws(num_draws):
    noise = jax.random.normal(jax.random.key(0), (num_draws, 3))
    return jnp.array([5.0, -2.0, 100.0]) + noise @ MIXING.T


def stated_covariance(draws):
    """Correlations times n / (n + 2 latent), variances as they are up to the jitter."""
    draws = np.asarray(draws, np.float64)
    num_draws, dim = draws.shape
    covariance = np.cov(draws, rowvar=False)
    weight = num_draws / (num_draws + 2 * dim)
    shrunk = weight * covariance
    np.fill_diagonal(shrunk, np.diag(covariance) * (1 + RELATIVE_JITTER))
    return shrunk


@pytest.mark.parametrize("num_draws", [2, 12, 5000])
def test_map_has_the_moments_of_the_draws(num_draws):
    draws = correlated_draws(num_draws)
    affine = affine_from_draws(draws)
    np.testing.assert_allclose(affine.loc, np.mean(np.asarray(draws, np.float64), 0), rtol=1e-5)
    factor = np.asarray(affine.scale_tril, np.float64)
    expected = stated_covariance(draws)
    scale = np.sqrt(np.diag(expected))
    np.testing.assert_allclose(
        factor @ factor.T / np.outer(scale, scale), expected / np.outer(scale, scale), atol=2e-4
    )
    assert np.all(np.triu(factor, 1) == 0)


def test_many_draws_are_whitened():
    """Through the inverse, the draws come out with mean zero and covariance one."""
    draws = correlated_draws(5000)
    whitened = np.asarray(jax.vmap(affine_from_draws(draws)._inverse)(draws), np.float64)
    np.testing.assert_allclose(whitened.mean(axis=0), 0, atol=1e-3)
    # Shrinking correlations by 6 / 5006 moves the whitened covariance by that, times how far the
    # correlations are from none.
    correlations = np.corrcoef(np.asarray(draws), rowvar=False)
    most = 6 / 5006 / np.linalg.eigvalsh(correlations)[0]
    assert most < 0.03
    np.testing.assert_allclose(np.cov(whitened.T), np.eye(3), atol=most)


def test_draws_on_a_line_give_a_finite_map():
    """Singular covariances still have a factor: the shrinkage makes them regular."""
    line = jnp.linspace(-1.0, 1.0, 50)[:, None] * jnp.ones(3)
    for draws in (line, line[::49]):
        factor = affine_from_draws(draws).scale_tril
        assert bool(jnp.all(jnp.isfinite(factor)))
        assert bool(jnp.all(jnp.diagonal(factor) > 0.1))


def test_draws_without_spread_give_no_map():
    """No scale is made up: what has none is not finite, for the caller to notice."""
    assert bool(jnp.all(jnp.isnan(jnp.diagonal(affine_from_draws(jnp.ones((4, 3))).scale_tril))))


def test_shrinkage_weight_is_one_half_at_two_draws_per_dimension():
    covariance = jnp.array([[4.0, 1.0], [1.0, 9.0]])
    factor = shrunk_cholesky(covariance, 2.0)
    np.testing.assert_allclose(factor @ factor.T, [[4.0, 0.5], [0.5, 9.0]], rtol=2e-5)
