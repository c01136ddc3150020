"""Simulation-based calibration passes for exact samplers and fails for each planted bug."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from jax.tree_util import Partial
from scipy import stats

from bayes_jax import InputError, LatentModel, log_joint, sample_batch, sample_posterior, simulate
from bayes_jax.calibration import (
    calibration,
    ecdf,
    ecdf_band,
    simulation_based_calibration,
    thin,
)
from bayes_jax.exact import linear_gaussian

NUM_SIMULATIONS = 200
PASS, FAIL = 0.01, 1e-4


def linear_model() -> LatentModel:
    loading = jnp.array([[1.0, 0.3], [-0.5, 0.8], [0.2, 1.5]])
    params = linear_gaussian.LinearGaussian(loading, jnp.zeros(3), jnp.full(3, 2.0))
    return linear_gaussian.latent_model(params)


def _poisson(z):
    return dist.Poisson(jnp.exp(1.0 + z)).to_event(1)


def poisson_model() -> LatentModel:
    """One count with a log link: not symmetric."""
    return LatentModel(dist.Normal(jnp.zeros(1), 1.0).to_event(1), _poisson)


def _durations(z):
    return dist.Exponential(jnp.exp(z)).to_event(1)


def rate_model() -> LatentModel:
    """The log of a Gamma(2, 1) rate of a duration: its prior holds the Jacobian."""
    rate = dist.TransformedDistribution(
        dist.Gamma(2.0 * jnp.ones(1), 1.0), dist.transforms.ExpTransform().inv
    )
    return LatentModel(rate.to_event(1), _durations)


MODELS = {"linear": linear_model, "poisson": poisson_model, "rate": rate_model}


def by_kernel(model, kernel):
    options = {"hmc": {"num_samples": 80}, "nuts": {"num_chains": 4, "num_samples": 160}}[kernel]

    def sampler(key, x):
        draws = sample_posterior(
            key, model, x, kernel=kernel, num_warmup=150, batch_size=NUM_SIMULATIONS, **options
        )
        return thin(draws.z, 4)

    return sampler


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "kernel"),
    [
        pytest.param(name, kernel, marks=pytest.mark.long if kernel == "nuts" else ())
        for name in MODELS
        for kernel in ("hmc", "nuts")
    ],
)
def test_samplers_are_calibrated(name, kernel):
    model = MODELS[name]()
    found = simulation_based_calibration(
        jax.random.key(0), model, by_kernel(model, kernel), num_simulations=NUM_SIMULATIONS
    )
    assert found.names[-1] == "log p(x|z)"
    assert found.p_value > PASS


def by_density(log_density, dim):
    def sampler(key, x):
        init = 0.1 * jax.random.normal(jax.random.key(9), (len(x), 16, dim))
        draws = sample_batch(key, log_density, x, init, num_warmup=150, num_samples=80)
        return thin(draws.z, 4)

    return sampler


def _wrong_scale(model, z, x):
    return log_joint(model, z, x) / 2


def _no_jacobian(model, z, x):
    return log_joint(model, z, x) - jnp.sum(z)


def _no_prior(model, z, x):
    # Flat, but for what keeps it proper.
    return model.likelihood(z).log_prob(x) - 5e-5 * jnp.sum(z**2)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "density"),
    [("linear", _wrong_scale), ("rate", _no_jacobian), ("poisson", _no_prior)],
)
def test_planted_bugs_are_seen(name, density):
    model = MODELS[name]()
    dim = model.prior.event_shape[0]
    found = simulation_based_calibration(
        jax.random.key(1),
        model,
        by_density(Partial(density, model), dim),
        num_simulations=NUM_SIMULATIONS,
    )
    assert found.p_value < FAIL


def test_a_sampler_that_ignores_x_is_seen_by_the_likelihood_alone():
    """Draws of the prior rank every latent uniformly."""
    model = linear_model()

    def sampler(key, x):
        return model.prior.sample(key, (len(x), 99))

    found = simulation_based_calibration(jax.random.key(2), model, sampler, num_simulations=400)
    latents = np.concatenate([found.chi_square[:-1], found.ecdf[:-1]])
    assert latents.min() * len(latents) > PASS
    assert max(found.chi_square[-1], found.ecdf[-1]) < FAIL


def test_ranks_count_the_draws_below():
    """By a loop on the host."""
    model = linear_model()
    kept = {}

    def sampler(key, x):
        kept["x"], kept["z"] = x, model.prior.sample(key, (len(x), 7))
        return kept["z"]

    key = jax.random.key(3)
    found = simulation_based_calibration(key, model, sampler, num_simulations=20)
    truth, x = simulate(jax.random.split(key, 3)[0], model, 20)
    np.testing.assert_array_equal(x, kept["x"])
    for row in range(20):
        below = [np.sum(np.asarray(kept["z"][row, :, i]) < float(truth[row, i])) for i in range(2)]
        likelihood = [float(model.likelihood(z).log_prob(x[row])) for z in kept["z"][row]]
        below.append(np.sum(likelihood < np.asarray(model.likelihood(truth[row]).log_prob(x[row]))))
        assert found.ranks[row].tolist() == below


def test_p_values_of_uniform_ranks_are_uniform():
    random = np.random.default_rng(4)
    found = calibration(random.integers(0, 64, (NUM_SIMULATIONS, 400)), 63)
    for values in (found.chi_square, found.ecdf):
        # Binned counts and binomial tails are discrete: p values may only be too large.
        assert np.mean(values < 0.05) < 0.05 + 4 * np.sqrt(0.05 * 0.95 / 400)
        assert stats.kstest(values, "uniform").statistic < 0.12
    assert found.p_value > PASS


@pytest.mark.parametrize("num_draws", [9, 63, 640])
def test_the_band_holds_whole_distribution_functions(num_draws):
    random = np.random.default_rng(5)
    points, low, high = ecdf_band(NUM_SIMULATIONS, num_draws)
    curves = [
        ecdf(random.integers(0, num_draws + 1, NUM_SIMULATIONS), num_draws) for _ in range(1000)
    ]
    inside = np.mean([np.all((curve >= low) & (curve <= high)) for curve in curves])
    assert len(points) == len(low) == len(curves[0])
    assert 0.95 - 4 * np.sqrt(0.95 * 0.05 / 1000) < inside < 0.99


def test_the_distribution_function_is_the_share_below():
    points, _, _ = ecdf_band(20, 4)
    np.testing.assert_allclose(points, [0.2, 0.4, 0.6, 0.8])
    np.testing.assert_allclose(ecdf(np.array([0, 0, 1, 4]), 4), [0.5, 0.75, 0.75, 0.75])


def test_too_few_simulations_are_refused():
    with pytest.raises(InputError, match="num_simulations is 5: expected at least 20"):
        simulation_based_calibration(
            jax.random.key(0),
            linear_model(),
            lambda key, x: jnp.zeros((len(x), 3, 2)),
            num_simulations=5,
        )
