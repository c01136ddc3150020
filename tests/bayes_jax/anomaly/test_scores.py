"""Scores of a linear-Gaussian model, where each has a closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from jax.tree_util import Partial
from scipy.stats import multivariate_normal

import bayes_jax
from bayes_jax import InputError, anomaly
from bayes_jax.annealing import annealed_model
from bayes_jax.ensemble import averaged_model
from bayes_jax.exact import linear_gaussian
from bayes_jax.exact.linear_gaussian import LinearGaussian

KEY = jax.random.key(1)
NUM, DIM, LATENT, NUM_SAMPLES = 16, 4, 2, 4000
SHIFT, SCALE = 0.4, 0.9


@pytest.fixture(scope="module")
def params():
    rng = np.random.default_rng(0)
    loading = rng.normal(size=(DIM, LATENT))
    return LinearGaussian(
        *(jnp.asarray(part, jnp.float32) for part in (loading, np.arange(DIM), 0.5 * np.ones(DIM)))
    )


@pytest.fixture(scope="module")
def model(params):
    return linear_gaussian.latent_model(params)


@pytest.fixture(scope="module")
def x(params):
    return linear_gaussian.generative(params).sample(jax.random.key(5), NUM)


@pytest.fixture(scope="module")
def exact(params, x):
    """log p(x), posterior means and covariance, in float64 by NumPy."""
    loading, mean, variance = (np.asarray(part, np.float64) for part in params)
    log_prob = multivariate_normal(mean, loading @ loading.T + np.diag(variance)).logpdf(x)
    covariance = np.linalg.inv(np.eye(LATENT) + loading.T @ (loading / variance[:, None]))
    return log_prob, (np.asarray(x) - mean) / variance @ loading @ covariance, covariance


def shifted(params, x):
    """A guide that is wrong: off its mean, without correlations."""
    loc = linear_gaussian.posterior(params, x).loc + SHIFT
    return dist.Normal(loc, SCALE * jnp.ones(LATENT)).to_event(1)


@pytest.fixture(scope="module")
def guide(params):
    return Partial(shifted, params)


@pytest.fixture(scope="module")
def divergence(exact):
    """KL(guide || posterior), the same for every x."""
    precision = np.linalg.inv(exact[2])
    shift = np.full(LATENT, SHIFT)
    log_ratio = -np.linalg.slogdet(precision)[1] - LATENT * np.log(SCALE**2)
    trace = SCALE**2 * np.trace(precision)
    return 0.5 * (trace + shift @ precision @ shift - LATENT + log_ratio)


def reconstructions(params, x, mean, covariance):
    """-E log p(x | z) over N(mean, covariance) of z."""
    loading, loc, variance = (np.asarray(part, np.float64) for part in params)
    residual = np.asarray(x, np.float64) - mean @ loading.T - loc
    spread = np.sum((loading @ covariance) * loading, axis=1)
    return 0.5 * np.sum((residual**2 + spread) / variance + np.log(2 * np.pi * variance), axis=1)


def assert_close(found, expected, stderr):
    """Within five standard errors, for every x."""
    error = np.abs(np.asarray(found, np.float64) - expected) / np.asarray(stderr)
    assert np.max(error) < 5


def stderr_of_reconstruction(params, x, mean):
    """Of the mean over the guide's draws of log p(x | z), by draws of NumPy."""
    z = mean[:, None] + SCALE * np.random.default_rng(0).normal(size=(len(mean), 2000, LATENT))
    residual = np.asarray(x)[:, None] - z @ np.asarray(params.loading).T - np.asarray(params.mean)
    return np.std(0.5 * np.sum(residual**2 / np.asarray(params.variance), axis=2), axis=1) / (
        NUM_SAMPLES**0.5
    )


def test_negative_elbo_is_surprise_plus_divergence(model, guide, x, exact, divergence):
    options = {"guide": guide, "num_samples": NUM_SAMPLES}
    found = anomaly.negative_elbo(KEY, model, x, **options)
    stderr = bayes_jax.elbo(KEY, model, x, **options).stderr_lower
    assert_close(found, -exact[0] + divergence, stderr)


def test_negative_importance_bound_nears_the_surprise(model, guide, x, exact):
    options = {"guide": guide, "num_samples": NUM_SAMPLES}
    found = anomaly.negative_importance_bound(KEY, model, x, **options)
    stderr = bayes_jax.importance_bound(KEY, model, x, **options).stderr_lower
    assert_close(found, -exact[0], stderr)


def test_with_the_exact_posterior_every_bound_is_the_surprise(model, params, x, exact):
    guide = Partial(linear_gaussian.posterior, params)
    for score in (anomaly.negative_elbo, anomaly.negative_importance_bound):
        found = score(KEY, model, x, guide=guide, num_samples=3)
        np.testing.assert_allclose(found, -exact[0], rtol=1e-4)


def test_negative_annealed_evidence_is_the_surprise_whatever_the_guide(model, x, exact):
    options = {"num_chains": 64, "num_temperatures": 30}
    found = anomaly.negative_annealed_evidence(KEY, model, x, **options)
    stderr = bayes_jax.annealed_evidence(KEY, model, x, **options).stderr_lower
    assert_close(found, -exact[0], stderr)


def test_reconstruction_is_the_elbo_without_the_prior(model, params, guide, x, exact):
    found = anomaly.reconstruction(KEY, model, x, guide=guide, num_samples=NUM_SAMPLES)
    mean = exact[1] + SHIFT
    expected = reconstructions(params, x, mean, SCALE**2 * np.eye(LATENT))
    assert_close(found, expected, stderr_of_reconstruction(params, x, mean))


def test_regret_is_the_divergence_that_a_fit_could_have_saved(model, guide, x, divergence):
    options = {"guide": guide, "num_samples": NUM_SAMPLES}
    found = anomaly.likelihood_regret(KEY, model, x, family="full_rank", **options)
    # That of the best ELBO is next to nothing: its weights are nearly constant.
    stderr = bayes_jax.elbo(KEY, model, x, **options).stderr_lower
    assert_close(found, divergence, stderr)


def test_regret_of_the_exact_posterior_is_nothing(model, params, x):
    guide = Partial(linear_gaussian.posterior, params)
    found = anomaly.likelihood_regret(
        KEY, model, x, guide=guide, family="full_rank", num_samples=100, num_steps=20
    )
    np.testing.assert_allclose(found, 0, atol=0.02)


def test_exact_surprise_and_its_refusal(model, params, x, exact):
    found = anomaly.negative_log_evidence(KEY, linear_gaussian.generative(params), x)
    np.testing.assert_allclose(found, -exact[0], rtol=1e-5)
    bounded = annealed_model(model, num_chains=2, num_temperatures=4)
    with pytest.raises(InputError, match="kind lower: expected an exact one"):
        anomaly.negative_log_evidence(KEY, bounded, x)


def test_members_disagree_by_the_gap_of_their_mean(params, x):
    means = jnp.stack([params.mean, params.mean + 1])
    each = jnp.stack([params.loading] * 2), means, jnp.stack([params.variance] * 2)
    prior = linear_gaussian.latent_model(params).prior
    model = averaged_model(prior, Partial(linear_gaussian.likelihood, LinearGaussian(*each)))
    guide = Partial(linear_gaussian.posterior, params)
    found = anomaly.member_disagreement(KEY, model, x, guide=guide, num_samples=NUM_SAMPLES)
    log_probs = np.stack(
        [linear_gaussian.log_evidences(params._replace(mean=mean), x) for mean in means]
    )
    expected = np.log(np.mean(np.exp(log_probs), axis=0)) - np.mean(log_probs, axis=0)
    np.testing.assert_allclose(found, expected, atol=0.1)


def test_members_that_agree_have_no_score(params, x):
    same = jax.tree.map(lambda leaf: jnp.stack([leaf] * 3), params)
    prior = linear_gaussian.latent_model(params).prior
    model = averaged_model(prior, Partial(linear_gaussian.likelihood, same))
    guide = Partial(linear_gaussian.posterior, params)
    found = anomaly.member_disagreement(KEY, model, x, guide=guide, num_samples=10)
    np.testing.assert_allclose(found, 0, atol=1e-5)


def test_typicality_is_the_distance_to_the_mean_of_normal_rows():
    found = anomaly.typicality(jnp.asarray([-9.0, -5.0, 1.0]), jnp.asarray([-4.0, -8.0]))
    np.testing.assert_allclose(found, [3.0, 1.0, 7.0])


def test_no_samples_are_refused(model, guide, x):
    with pytest.raises(InputError, match="num_samples is 0: expected at least 1"):
        anomaly.reconstruction(KEY, model, x, guide=guide, num_samples=0)
    with pytest.raises(InputError, match="outside the support"):
        anomaly.reconstruction(KEY, model, x.at[3, 0].set(jnp.nan), guide=guide)


def test_batches_change_nothing(model, guide, x):
    whole = anomaly.reconstruction(KEY, model, x, guide=guide)
    parts = anomaly.reconstruction(KEY, model, x, guide=guide, batch_size=5)
    np.testing.assert_allclose(parts, whole, rtol=1e-5)
