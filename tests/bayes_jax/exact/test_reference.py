"""Every reference against a plain sum over a dense grid in float64, and against SciPy."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm
from scipy.stats import poisson as scipy_poisson

from bayes_jax.exact import reference
from bayes_jax.model import log_joint, simulate

NUM = 6


@pytest.fixture(scope="module", params=list(reference.REFERENCES))
def case(request):
    made = reference.REFERENCES[request.param]()
    z, x = simulate(jax.random.key(4), made.model, NUM)
    return made, z, x


class DenseGrid(NamedTuple):
    points: np.ndarray
    weights: np.ndarray
    log_evidence: float
    mean: np.ndarray
    covariance: np.ndarray


def dense_grids(model, x):
    """p(z | x) for each x on a grid over [-9, 9] that nothing adapts, summed in float64."""
    dim = model.prior.event_shape[0]
    axis = np.linspace(-9, 9, {1: 4001, 2: 301}[dim])
    points = np.stack(np.meshgrid(*[axis] * dim, indexing="ij"), axis=-1).reshape(-1, dim)
    log_density = jax.jit(lambda x: jax.vmap(lambda z: log_joint(model, z, x))(jnp.asarray(points)))
    for row in x:
        values = np.asarray(log_density(row), np.float64)
        density = np.exp(values - values.max())
        weights = density / density.sum()
        mean = weights @ points
        covariance = (weights[:, None] * (points - mean)).T @ (points - mean)
        log_volume = dim * np.log(axis[1] - axis[0])
        log_evidence = values.max() + np.log(density.sum()) + log_volume
        yield DenseGrid(points, weights, log_evidence, mean, covariance)


def test_evidence_and_moments_equal_a_dense_grid(case):
    made, _, x = case
    means, covariances = made.posterior_moments(x)
    log_evidence = made.log_evidence(x)
    for row, grid in enumerate(dense_grids(made.model, x)):
        np.testing.assert_allclose(log_evidence[row], grid.log_evidence, atol=1e-4)
        np.testing.assert_allclose(means[row], grid.mean, atol=2e-4)
        np.testing.assert_allclose(covariances[row], grid.covariance, atol=5e-4)


def test_name_is_the_key(case):
    made, _, _ = case
    assert reference.REFERENCES[made.name]().name == made.name


def test_poisson_equals_scipys_integral():
    made = reference.poisson()
    x = jnp.tile(jnp.array([3, 0, 1]), (NUM, 1))
    offset, slope = np.array([0.0, -1.0, 0.5]), np.array([1.0, 1.5, -0.3])

    def density(z):
        return norm.pdf(z) * np.prod(scipy_poisson.pmf(x[0], np.exp(offset + slope * z)))

    np.testing.assert_allclose(
        made.log_evidence(x)[0], np.log(quad(density, -8, 8, epsabs=1e-13)[0]), atol=2e-5
    )


def test_poisson_is_skewed_and_the_mixture_has_two_modes():
    (grid,) = dense_grids(reference.poisson().model, jnp.zeros((1, 3), int))
    standardised = (grid.points[:, 0] - grid.mean) / np.sqrt(grid.covariance[0, 0])
    assert grid.weights @ standardised**3 < -0.2

    (grid,) = dense_grids(reference.mixture_prior().model, jnp.array([[0.3, 0.6]]))
    first = grid.points[:, 0]
    assert 0.1 < grid.weights[first < 0].sum() < 0.9
    assert grid.weights[np.abs(first) < 0.3].sum() < 0.05


def test_linear_gaussian_posterior_is_correlated():
    made = reference.linear_gaussian(3, 7)
    covariance = np.asarray(made.posterior_moments(jnp.zeros((1, 7)))[1][0])
    scale = np.sqrt(np.diag(covariance))
    assert np.abs(covariance / np.outer(scale, scale))[np.triu_indices(3, 1)].max() > 0.2
