"""The average over members: its density, evidence and samples against brute force."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from jax.tree_util import Partial
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

import bayes_jax
from bayes_jax.ensemble import Averaged, averaged_model, compared, disagreement
from bayes_jax.errors import InputError
from bayes_jax.exact import quadrature

KEY = jax.random.key(1)
NUM_MEMBERS, DIM, LATENT = 5, 3, 2
X = jnp.asarray(np.random.default_rng(3).normal(size=(12, DIM)), jnp.float32)


def decode(params, z):
    return dist.Normal(params["loading"] @ z + params["mean"], 1.0).to_event(1)


def prior():
    return dist.Normal(0.0, 1.0).expand([LATENT]).to_event(1)


def guide(x):
    return dist.Normal(jnp.zeros(LATENT), 1.2).to_event(1)


@pytest.fixture(scope="module")
def params():
    rng = np.random.default_rng(2)
    return {
        "loading": jnp.asarray(rng.normal(size=(NUM_MEMBERS, DIM, LATENT)), jnp.float32),
        "mean": jnp.asarray(rng.normal(size=(NUM_MEMBERS, DIM)), jnp.float32),
    }


@pytest.fixture(scope="module")
def exact(params):
    """log p(x | theta_s) in closed form, `[batch, member]`."""
    each = []
    for loading, mean in zip(params["loading"], params["mean"], strict=True):
        covariance = np.asarray(loading @ loading.T) + np.eye(DIM)
        each.append(multivariate_normal(np.asarray(mean), covariance).logpdf(np.asarray(X)))
    return np.stack(each, axis=1)


@pytest.fixture(scope="module")
def model(params):
    return averaged_model(prior(), Partial(decode, params))


def averages(exact):
    return logsumexp(exact, axis=1) - np.log(NUM_MEMBERS)


# --- the density ---------------------------------------------------------------------------------


def test_the_evidence_of_the_average_is_the_average_in_probability(model, exact):
    found = quadrature.log_evidence(model, X)
    assert found.kind == bayes_jax.EvidenceKind.EXACT
    np.testing.assert_allclose(found.lower, averages(exact), rtol=1e-4)


def test_bounds_of_the_average_bound_the_predictive_evidence(model, exact):
    bound = bayes_jax.importance_bound(KEY, model, X, guide=guide, num_samples=1000)
    error = np.asarray(bound.lower) - averages(exact)
    stderr = np.linalg.norm(bound.stderr_lower) / len(X)
    assert abs(error.mean()) < 4 * stderr < 0.1
    assert np.mean(bayes_jax.elbo(KEY, model, X, guide=guide).lower - averages(exact)) < -0.3


def test_moments_are_those_of_draws(params):
    averaged = averaged_model(prior(), Partial(decode, params)).likelihood(jnp.array([1.0, -0.5]))
    draws = averaged.sample(KEY, (10_000,))
    stderr = np.sqrt(averaged.variance / len(draws))
    assert np.all(np.abs(draws.mean(0) - averaged.mean) < 4 * stderr)
    np.testing.assert_allclose(draws.var(0), averaged.variance, rtol=0.08)
    expected = logsumexp(
        [
            decode(jax.tree.map(lambda p, s=s: p[s], params), jnp.array([1.0, -0.5])).log_prob(
                draws
            )
            for s in range(NUM_MEMBERS)
        ],
        axis=0,
    )
    np.testing.assert_allclose(
        averaged.log_prob(draws), expected - np.log(NUM_MEMBERS), rtol=1e-4, atol=1e-4
    )


def test_members_of_bits_average_their_probabilities():
    averaged = Averaged(jax.vmap(lambda p: dist.Bernoulli(p).to_event(1))(jnp.eye(2) * 0.8 + 0.1))
    np.testing.assert_allclose(averaged.mean, [0.5, 0.5])
    # Two members, each sure of one pixel: the pair (1, 0) has (0.9 * 0.9 + 0.1 * 0.1) / 2.
    np.testing.assert_allclose(averaged.log_prob(jnp.array([1.0, 0.0])), np.log(0.41), rtol=1e-5)


def test_ensembles_of_one_likelihood_share_their_programs(model, params):
    bayes_jax.importance_bound(KEY, model, X, guide=guide, num_samples=7)
    other = averaged_model(prior(), Partial(decode, jax.tree.map(lambda leaf: 2 * leaf, params)))
    assert jax.tree.structure(other) == jax.tree.structure(model)


# --- disagreement --------------------------------------------------------------------------------


def test_scores_are_those_of_the_exact_evidence(model, exact):
    found = disagreement(KEY, model, X, guide=guide, num_samples=5000)
    np.testing.assert_allclose(found.log_evidence, exact, atol=0.15)
    scores = compared(jnp.asarray(exact))
    np.testing.assert_allclose(scores.predictive, averages(exact), rtol=1e-5)
    np.testing.assert_allclose(scores.information, averages(exact) - exact.mean(1), rtol=1e-4)
    np.testing.assert_allclose(scores.variance, exact.var(1), rtol=1e-4)
    np.testing.assert_allclose(scores.waic, exact.mean(1) - exact.var(1), rtol=1e-4)
    assert np.all(found.information >= 0)


def test_members_that_are_one_do_not_disagree(params):
    same = jax.tree.map(lambda leaf: jnp.repeat(leaf[:1], NUM_MEMBERS, axis=0), params)
    model = averaged_model(prior(), Partial(decode, same))
    found = disagreement(KEY, model, X, guide=guide, num_samples=3)
    np.testing.assert_allclose(found.variance, 0, atol=1e-8)
    np.testing.assert_allclose(found.information, 0, atol=1e-5)


def test_rows_in_memory_change_nothing(model):
    whole, parts = (
        disagreement(KEY, model, X, guide=guide, num_samples=5, batch_size=size) for size in (12, 5)
    )
    np.testing.assert_allclose(whole.waic, parts.waic, rtol=1e-5)


def test_a_model_without_members_is_refused(params):
    one = bayes_jax.LatentModel(prior(), Partial(decode, jax.tree.map(lambda p: p[0], params)))
    with pytest.raises(InputError, match=r"Independent\) has no members.*averaged_model"):
        disagreement(KEY, one, X, guide=guide)
    with pytest.raises(InputError, match="num_samples is 0"):
        disagreement(KEY, one, X, guide=guide, num_samples=0)
