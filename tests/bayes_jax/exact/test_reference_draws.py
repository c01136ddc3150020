"""The draws of every reference are those of its posterior, by moments, distribution and ranks."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from bayes_jax.calibration import simulation_based_calibration
from bayes_jax.exact import quadrature, reference
from bayes_jax.model import log_joint, simulate

# One shape for all tests, so that each reference compiles its draws once.
NUM_OBSERVATIONS, NUM_DRAWS = 200, 199
# Quick: one in closed form and one by quadrature, both with several modes. Each takes seconds.
QUICK = ("mixture_prior", "nonlinear_gaussian_1d")
NAMES = [
    pytest.param(name, marks=() if name in QUICK else pytest.mark.long)
    for name in reference.REFERENCES
]


class Drawn(NamedTuple):
    made: reference.Reference
    x: jax.Array
    draws: jax.Array
    grid: quadrature.GridPosterior


@pytest.fixture(scope="module", params=NAMES)
def drawn(request):
    made = reference.REFERENCES[request.param]()
    x = simulate(jax.random.key(5), made.model, NUM_OBSERVATIONS)[1]
    draws = made.draw_posterior(jax.random.key(6), x, NUM_DRAWS)
    return Drawn(made, x, draws, quadrature.posteriors(made.model, x))


def check_zero_mean(errors):
    """Of errors that are independent from x to x and each of expectation 0, `[batch]`."""
    errors = np.asarray(errors, np.float64)
    assert abs(errors.mean()) < 4 * errors.std(ddof=1) / np.sqrt(len(errors))


def test_draws_have_the_posterior_moments(drawn):
    mean, covariance = (np.float64(moment) for moment in drawn.made.posterior_moments(drawn.x))
    scale = np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))
    correlation = covariance / (scale[:, :, None] * scale[:, None, :])
    standardised = (np.asarray(drawn.draws) - mean[:, None]) / scale[:, None]
    for i in range(mean.shape[1]):
        error = standardised[..., i].mean(axis=1)
        check_zero_mean(error)
        check_zero_mean(NUM_DRAWS * error**2 - 1)  # each x by itself is right, not their mean only
        for j in range(i + 1):
            products = standardised[..., i] * standardised[..., j]
            check_zero_mean(products.mean(axis=1) - correlation[:, i, j])


def test_draws_have_the_mean_log_joint_of_the_lattice(drawn):
    """Weights of the lattice, values of the model: a quantity that sees the whole density."""

    @jax.jit
    @jax.vmap
    def log_joints(z, x):
        return jax.vmap(lambda z: log_joint(drawn.made.model, z, x))(z)

    on_lattice = np.asarray(log_joints(drawn.grid.points, drawn.x), np.float64)
    weights = np.asarray(drawn.grid.weights, np.float64)
    expected = np.sum(np.where(weights > 0, weights * on_lattice, 0), axis=1)
    found = np.asarray(log_joints(drawn.draws, drawn.x), np.float64)
    check_zero_mean(found.mean(axis=1) - expected)


def test_each_latent_follows_the_lattice_distribution(drawn):
    """F(z) of all draws of all x is uniform, with F linear inside the cells of the lattice."""
    for axis in range(drawn.draws.shape[-1]):
        levels = [
            lattice_cdf(points[:, axis], weights, side[axis], z)
            for points, weights, side, z in zip(
                *map(np.asarray, drawn.grid[:2]),
                np.asarray(drawn.grid.spacing),
                np.asarray(drawn.draws[..., axis]),
                strict=True,
            )
        ]
        assert stats.kstest(np.concatenate(levels), "uniform").pvalue > 1e-3


def lattice_cdf(coordinates, weights, side, z):
    order = np.argsort(coordinates)
    sorted_coordinates = coordinates[order]
    is_new = np.diff(sorted_coordinates, prepend=-np.inf) > side / 2
    mass = np.bincount(np.cumsum(is_new) - 1, weights=weights[order])
    right = sorted_coordinates[is_new] + side / 2
    below = np.concatenate([[0.0], np.cumsum(mass)])
    return np.interp(z, np.concatenate([[right[0] - side], right]), below / below[-1])


def test_ranks_of_simulated_latents_are_uniform(drawn):
    """Among the draws, of each latent and of the log-likelihood."""
    result = simulation_based_calibration(
        jax.random.key(8),
        drawn.made.model,
        lambda key, x: drawn.made.draw_posterior(key, x, NUM_DRAWS),
        num_simulations=NUM_OBSERVATIONS,
    )
    assert result.p_value > 0.01


def test_posterior_is_joint_over_evidence(drawn):
    """Bayes' rule at the draws: as a guide the posterior would have constant weights."""

    @jax.jit
    @jax.vmap
    def log_weights(z, x):
        return jax.vmap(lambda z: log_joint(drawn.made.model, z, x))(z) - drawn.made.posterior(
            x
        ).log_prob(z)

    weights = log_weights(drawn.draws[:, :5], drawn.x)
    expected = jnp.broadcast_to(drawn.made.log_evidence(drawn.x)[:, None], weights.shape)
    np.testing.assert_allclose(weights, expected, atol=1e-3)
