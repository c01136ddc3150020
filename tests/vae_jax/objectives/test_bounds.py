"""Bounds against closed forms on a linear-Gaussian model with a guide that is not optimal."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from jax.scipy.special import logsumexp
from jax.tree_util import Partial
from numpyro.distributions.kl import kl_divergence
from numpyro.distributions.transforms import LowerCholeskyAffine

from bayes_jax.model import LatentModel
from vae_jax import objectives
from vae_jax.objectives.terms import divergence

LATENT, DIM, NOISE = 2, 3, 0.5
NUM_DRAWS = 20_000


def decode(params, z):
    return dist.Normal(params["loading"] @ z, NOISE).to_event(1)


def encode(params, x):
    return dist.Normal(params["kernel"] @ x, jnp.exp(params["log_scale"])).to_event(1)


def encode_full_rank(params, x):
    return dist.MultivariateNormal(params["kernel"] @ x, scale_tril=params["factor"])


def encode_by_a_map(params, x):
    """The same distribution in a form whose KL nobody knows."""
    base = dist.Normal(jnp.zeros(LATENT), 1.0).to_event(1)
    return dist.TransformedDistribution(
        base, LowerCholeskyAffine(params["kernel"] @ x, params["factor"])
    )


@pytest.fixture(scope="module")
def params():
    loading = jnp.array([[1.0, 0.3], [-0.5, 0.8], [0.2, -0.6]])
    precision = loading.T @ loading + NOISE**2 * jnp.eye(LATENT)
    return {
        "loading": loading,
        "kernel": 0.6 * jnp.linalg.solve(precision, loading.T),  # shrunk: not the posterior mean
        "log_scale": jnp.array([-0.5, -1.0]),
        "factor": jnp.array([[0.6, 0.0], [0.3, 0.4]]),
    }


X = jnp.array([0.7, -1.2, 0.4])
PRIOR = dist.Normal(jnp.zeros(LATENT), 1.0).to_event(1)


def model_and_guide(params, encode=encode):
    return LatentModel(PRIOR, Partial(decode, params)), Partial(encode, params)


def closed_form(params, factor=None):
    """Reconstruction and KL with q = N(kernel x, S), written out with matrices."""
    factor = jnp.diag(jnp.exp(params["log_scale"])) if factor is None else factor
    mean, covariance = params["kernel"] @ X, factor @ factor.T
    residual = X - params["loading"] @ mean
    spread = jnp.trace(params["loading"] @ covariance @ params["loading"].T)
    reconstruction = -0.5 * (residual @ residual + spread) / NOISE**2
    reconstruction -= 0.5 * DIM * jnp.log(2 * jnp.pi * NOISE**2)
    log_det = jnp.linalg.slogdet(covariance)[1]
    return reconstruction, 0.5 * (jnp.trace(covariance) + mean @ mean - LATENT - log_det)


def log_evidence(params):
    covariance = params["loading"] @ params["loading"].T + NOISE**2 * jnp.eye(DIM)
    return dist.MultivariateNormal(jnp.zeros(DIM), covariance).log_prob(X)


def draws(function, params, num=NUM_DRAWS, encode=encode, **options):
    """`function` at `num` keys."""

    def one(key):
        return function(key, *model_and_guide(params, encode), X, **options)

    return jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(0), num))


def assert_mean(values, expected, num_stderr=4):
    values = np.asarray(values, np.float64)
    stderr = values.std(axis=0, ddof=1) / np.sqrt(len(values))
    assert np.all(np.abs(values.mean(axis=0) - expected) <= num_stderr * stderr + 1e-6)


@pytest.mark.parametrize("num_samples", [1, 3])
def test_elbo_terms_match_the_closed_form(params, num_samples):
    terms = draws(objectives.elbo_terms, params, num_samples=num_samples)
    reconstruction, kl = closed_form(params)
    np.testing.assert_allclose(terms.kl, kl, rtol=1e-5)
    assert_mean(terms.reconstruction, reconstruction)
    assert_mean(terms.objective, reconstruction - kl)
    np.testing.assert_array_equal(terms.elbo, terms.objective)


def test_more_samples_shrink_the_noise_of_the_elbo(params):
    one, four = (draws(objectives.elbo, params, num_samples=num) for num in (1, 4))
    # A ratio of variances of 20,000 draws is known to a few per cent.
    np.testing.assert_allclose(one.var() / four.var(), 4, rtol=0.15)


def test_gradient_of_the_elbo_is_the_closed_forms_in_expectation(params):
    def gradient(key):
        return jax.grad(lambda p: objectives.elbo(key, *model_and_guide(p), X))(params)

    gradients = jax.jit(jax.vmap(gradient))(jax.random.split(jax.random.key(1), NUM_DRAWS))
    expected = jax.grad(lambda p: closed_form(p)[0] - closed_form(p)[1])(params)
    for name in ("loading", "kernel", "log_scale"):
        assert np.abs(expected[name]).max() > 0.1
        assert_mean(gradients[name], expected[name], num_stderr=4.5)  # 14 numbers at once


def test_kl_without_a_closed_form_is_sampled(params):
    terms = draws(objectives.elbo_terms, params, encode=encode_by_a_map)
    reconstruction, kl = closed_form(params, params["factor"])
    assert terms.kl.std() > 0.1
    assert_mean(terms.kl, kl)
    assert_mean(terms.objective, reconstruction - kl)


def test_kl_of_a_full_rank_normal_is_exact(params):
    terms = draws(objectives.elbo_terms, params, 5, encode=encode_full_rank)
    np.testing.assert_allclose(terms.kl, closed_form(params, params["factor"])[1], rtol=1e-5)
    loc, scale = jnp.array([0.4, -2.0]), jnp.array([0.5, 3.0])
    q = encode_full_rank(params, X)
    found = divergence(q, dist.Normal(loc, scale).to_event(1), jnp.zeros((1, 2)), jnp.zeros(1))
    dense = dist.MultivariateNormal(loc, scale_tril=jnp.diag(scale))
    np.testing.assert_allclose(found, kl_divergence(q, dense), rtol=1e-5)


def test_a_prior_made_of_a_normal_is_not_taken_for_one(params):
    """No closed form is known for a log-normal: its KL is the mean over draws."""
    prior = dist.LogNormal(jnp.zeros(2), 1.0).to_event(1)
    z, log_q = jnp.array([[0.5, 2.0], [1.5, 1.0]]), jnp.array([-1.0, -2.0])
    found = divergence(encode_full_rank(params, X), prior, z, log_q)
    np.testing.assert_allclose(found, jnp.mean(log_q - prior.log_prob(z)), rtol=1e-6)


def test_iwae_of_one_sample_is_the_elbo_in_expectation(params):
    reconstruction, kl = closed_form(params)
    terms = draws(objectives.iwae_terms, params, num_samples=1)
    assert_mean(terms.objective, reconstruction - kl)
    assert_mean(terms.kl, kl)


def test_iwae_is_the_log_mean_of_the_importance_weights(params):
    model, guide = model_and_guide(params)
    key = jax.random.key(5)
    z = guide(X).sample(key, (4,))
    log_weights = jnp.stack(
        [PRIOR.log_prob(z) + model.likelihood(z).log_prob(X) - guide(X).log_prob(z) for z in z]
    )
    terms = objectives.iwae_terms(key, model, guide, X, num_samples=4)
    np.testing.assert_allclose(terms.objective, logsumexp(log_weights) - np.log(4), rtol=1e-5)
    np.testing.assert_allclose(terms.elbo, log_weights.mean(), rtol=1e-5)
    np.testing.assert_allclose(terms.reconstruction - terms.kl, terms.elbo, rtol=1e-5)


def test_iwae_rises_with_its_samples_towards_the_evidence(params):
    exact = float(log_evidence(params))
    means, stderrs = [], []
    for num_samples in (1, 4, 32):
        values = np.asarray(draws(objectives.iwae, params, 2000, num_samples=num_samples))
        means.append(values.mean())
        stderrs.append(values.std() / np.sqrt(len(values)))
    for lower, upper, *errors in zip(means, means[1:], stderrs, stderrs[1:], strict=False):
        assert upper - lower > 4 * np.hypot(*errors)
    assert means[-1] <= exact + 4 * stderrs[-1]
    assert exact - means[0] > 0.5
    assert exact - means[-1] < 0.05
