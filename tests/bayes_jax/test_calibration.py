"""Intervals of the exact posterior cover what they claim, those of an overconfident q less."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from bayes_jax import InputError
from bayes_jax.calibration import interval_coverage, simulation_based_calibration


def gaussian_draws(key, mean, covariance, num_draws):
    """Draws `[batch, draw, latent]` of one Gaussian for each row."""
    factor = jnp.linalg.cholesky(covariance)
    noise = jax.random.normal(key, (len(mean), num_draws, mean.shape[-1]))
    return mean[:, None] + jnp.einsum("bij,bdj->bdi", factor, noise)


def test_draws_that_are_not_finite_have_no_rank_and_no_interval(linear_case):
    draws = jnp.zeros((len(linear_case.z), 20, linear_case.z.shape[-1])).at[3, 5].set(jnp.nan)
    assert np.isnan(interval_coverage(linear_case.z, draws).share)

    def sampler(key, x):
        return draws.at[40:].set(jnp.inf)

    expected = r"draws of 25 of 64 observations are not finite, the first of them x\[3\]"
    with pytest.raises(InputError, match=expected):
        simulation_based_calibration(
            jax.random.key(0), linear_case.model, sampler, num_simulations=len(linear_case.z)
        )


@pytest.mark.parametrize("probability", [0.5, 0.9])
def test_exact_posterior_covers_its_nominal_share(linear_case, probability):
    draws = gaussian_draws(jax.random.key(0), linear_case.mean, linear_case.covariance, 4000)
    coverage = interval_coverage(linear_case.z, draws, probability=probability)
    assert abs(float(coverage.share) - probability) < 4 * float(coverage.stderr)
    assert 0.01 < float(coverage.stderr) < 0.07


def test_overconfident_posterior_covers_less_and_a_wide_one_more(linear_case):
    """A Gaussian of s times the scale covers P(|N(0, 1)| < 1.645 s)."""
    for stretch in (0.5, 2.0):
        draws = gaussian_draws(
            jax.random.key(1), linear_case.mean, stretch**2 * linear_case.covariance, 4000
        )
        coverage = interval_coverage(linear_case.z, draws, probability=0.9)
        expected = 1 - 2 * stats.norm.sf(stretch * stats.norm.isf(0.05))
        # As if the latents of an observation were one: the most that its error can be.
        error = np.sqrt(expected * (1 - expected) / len(linear_case.z))
        assert abs(float(coverage.share) - expected) < 4 * error
        assert (float(coverage.share) < 0.75) == (stretch < 1)


def test_stderr_is_the_spread_over_replications():
    """Latents of one observation share a shift: they are not independent, observations are."""
    num_replications, num_observations = 2000, 50

    @jax.jit
    @jax.vmap
    def replicate(key):
        key_z, key_shift = jax.random.split(key)
        z = 0.3 * jax.random.normal(key_z, (num_observations, 4))
        return z + jax.random.normal(key_shift, (num_observations, 1))

    z = replicate(jax.random.split(jax.random.key(2), num_replications))
    grid = jnp.asarray(stats.norm.ppf(np.linspace(0.005, 0.995, 100)), jnp.float32)
    draws = jnp.broadcast_to(grid[:, None], (num_observations, 100, 4))
    cover = jax.vmap(partial(interval_coverage, probability=0.5), (0, None))
    coverage = jax.jit(cover)(z, draws)
    spread = float(jnp.std(coverage.share, ddof=1))
    stated = float(jnp.sqrt(jnp.mean(coverage.stderr**2)))
    assert abs(stated / spread - 1) < 4 / np.sqrt(2 * num_replications)
    # Latents taken as independent would state about half of it.
    share = float(jnp.mean(coverage.share))
    assert stated > 1.5 * np.sqrt(share * (1 - share) / (4 * num_observations))


def test_share_by_hand():
    """Draws 0..100: the central 90% interval is [5, 95]."""
    draws = jnp.broadcast_to(jnp.arange(101.0)[:, None], (2, 101, 2))
    coverage = interval_coverage(jnp.array([[4.9, 5.1], [94.9, 50.0]]), draws, probability=0.9)
    np.testing.assert_allclose(coverage.share, 0.75)
    np.testing.assert_allclose(coverage.stderr, 0.25, rtol=1e-6)
