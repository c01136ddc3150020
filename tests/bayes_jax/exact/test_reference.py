"""Every reference against a plain sum over a dense grid in float64, and against SciPy."""

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


def dense_grid(model, x):
    """log p(x) and moments by a midpoint sum on a grid over [-9, 9] that nothing adapts."""
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
        yield values.max() + np.log(density.sum()) + log_volume, mean, covariance


def test_evidence_and_moments_equal_a_dense_grid(case):
    made, _, x = case
    means, covariances = made.posterior_moments(x)
    expected = dense_grid(made.model, x)
    found = zip(made.log_evidence(x), means, covariances, strict=True)
    for (value, mean, covariance), (log_evidence, grid_mean, grid_covariance) in zip(
        found, expected, strict=True
    ):
        np.testing.assert_allclose(value, log_evidence, atol=1e-4)
        np.testing.assert_allclose(mean, grid_mean, atol=2e-4)
        np.testing.assert_allclose(covariance, grid_covariance, atol=5e-4)


def test_name_is_the_key(case):
    made, _, _ = case
    assert reference.REFERENCES[made.name]().name == made.name


def test_poisson_equals_scipys_integral():
    made = reference.poisson()
    x = np.array([[3, 0, 1]])
    offset, slope = np.array([0.0, -1.0, 0.5]), np.array([1.0, 1.5, -0.3])

    def density(z):
        return norm.pdf(z) * np.prod(scipy_poisson.pmf(x[0], np.exp(offset + slope * z)))

    np.testing.assert_allclose(
        made.log_evidence(x)[0], np.log(quad(density, -8, 8, epsabs=1e-13)[0]), atol=2e-5
    )


def test_poisson_is_skewed_and_the_mixture_has_two_modes():
    made = reference.poisson()
    x = jnp.zeros((1, 3), int)
    grid = reference.quadrature.posteriors(made.model, x)
    centred = (grid.points[0, :, 0] - grid.mean[0, 0]) / jnp.sqrt(grid.covariance[0, 0, 0])
    assert grid.weights[0] @ centred**3 < -0.2

    made = reference.mixture_prior()
    grid = reference.quadrature.posteriors(made.model, jnp.array([[0.3, 0.6]]))
    left = jnp.sum(grid.weights[0] * (grid.points[0, :, 0] < 0))
    between = jnp.sum(grid.weights[0] * (jnp.abs(grid.points[0, :, 0]) < 0.3))
    assert 0.1 < left < 0.9
    assert between < 0.05


def test_evidence_integrates_to_one_over_all_binary_images():
    images = (np.arange(2**12)[:, None] >> np.arange(12)) & 1
    made = reference.nonlinear_bernoulli()
    evidence = reference.quadrature.log_evidence(made.model, images, num_points=32, batch_size=512)
    np.testing.assert_allclose(np.exp(evidence.lower).sum(), 1, atol=1e-3)


def test_linear_gaussian_posterior_is_correlated():
    made = reference.linear_gaussian(3, 7)
    _, x = simulate(jax.random.key(0), made.model, 2)
    covariance = np.asarray(made.posterior_moments(x)[1][0])
    scale = np.sqrt(np.diag(covariance))
    assert np.abs(covariance / np.outer(scale, scale))[np.triu_indices(3, 1)].max() > 0.2
