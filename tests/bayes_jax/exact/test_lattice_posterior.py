"""Draws from a lattice are no lattice points, and NaN where they could not be exact."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from jax.tree_util import Partial
from scipy import stats

from bayes_jax.exact import linear_gaussian
from bayes_jax.exact.lattice_posterior import LatticePosterior
from bayes_jax.model import LatentModel

PARAMS = linear_gaussian.LinearGaussian(
    jnp.array([[1.0, 0.5], [-0.3, 2.0]]), jnp.array([0.3, -1.0]), jnp.array([0.05, 0.2])
)
X = jnp.array([0.9, 0.4])


@pytest.fixture(scope="module")
def lattice():
    model = linear_gaussian.latent_model(PARAMS)
    return jax.jit(lambda x: LatticePosterior(model, x, num_points=32))(X)


def test_density_moments_and_draws_equal_the_closed_form(lattice):
    """Along the axes of the Gaussian the draws are independent standard normals."""
    exact, num = linear_gaussian.posterior(PARAMS, X), 20_000
    z = jax.jit(lambda lattice: lattice.sample(jax.random.key(0), (num // 10, 10)))(lattice)
    assert z.shape == (num // 10, 10, 2)
    np.testing.assert_allclose(lattice.log_prob(z[:9]), exact.log_prob(z[:9]), atol=1e-3)
    np.testing.assert_allclose(lattice.mean, exact.mean, atol=1e-4)
    np.testing.assert_allclose(lattice.covariance_matrix, exact.covariance_matrix, atol=1e-4)
    np.testing.assert_allclose(lattice.variance, jnp.diagonal(exact.covariance_matrix), atol=1e-4)
    centred = np.asarray(z, np.float64).reshape(num, 2) - np.asarray(exact.mean)
    white = np.linalg.solve(np.asarray(exact.scale_tril, np.float64), centred.T)
    assert min(stats.kstest(row, "norm").pvalue for row in white) > 1e-3
    assert stats.kstest((white**2).sum(axis=0), "chi2", (2,)).pvalue > 1e-3


def test_draws_fill_their_cells(lattice):
    """Within a cell where the density hardly changes, they are uniform."""
    z = jax.jit(lambda lattice: lattice.sample(jax.random.key(1), (4000,)))(lattice)
    place = (z[:, None] - lattice.grid.points) / lattice.grid.spacing
    nearest = jnp.argmin(jnp.max(jnp.abs(place), axis=-1), axis=1)
    offset = np.asarray(jnp.take_along_axis(place, nearest[:, None, None], axis=1)[:, 0])
    assert np.abs(offset).max() < 0.5 + 1e-3
    assert all(stats.kstest(side, "uniform", (-0.5, 1)).pvalue > 1e-3 for side in offset.T)


def bump(edges, z):
    """Flat but for a plateau between two edges."""
    return dist.Normal(
        jnp.tanh(500 * (z - edges[0])) - jnp.tanh(500 * (z - edges[1])), 0.3
    ).to_event(1)


def ripples(frequency, z):
    return dist.Normal(3 * jnp.sin(frequency * z), 0.3).to_event(1)


@pytest.mark.parametrize("blind", ["below", "above"])
def test_useless_envelope_gives_nan_and_not_wrong_draws(blind):
    """A plateau that no centre sees rises above it, ripples between the centres leave it aloft."""
    prior = dist.Normal(jnp.zeros(1), jnp.ones(1)).to_event(1)

    @jax.jit
    def coarse(model):
        return LatticePosterior(model, jnp.full(1, 2.0), num_points=64, num_refinements=0)

    likelihood = Partial(ripples, 3000.0)
    if blind == "below":
        grid = coarse(LatentModel(prior, likelihood)).grid
        centre, side = grid.points[jnp.argmin(jnp.abs(grid.points))], grid.spacing
        likelihood = Partial(bump, (centre + 0.2 * side, centre + 0.4 * side))
    posterior = coarse(LatentModel(prior, likelihood))
    z = jax.jit(lambda posterior: posterior.sample(jax.random.key(2), (500,)))(posterior)
    assert bool(jnp.all(jnp.isnan(z)))
