"""Estimators of the bound's gradient against its quadrature, on a latent of one dimension."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from jax.scipy.special import logsumexp
from jax.tree_util import Partial

from bayes_jax.model import LatentModel
from vae_jax import objectives
from vae_jax.configs import PosteriorConfig
from vae_jax.posteriors import make_posterior

from ..conftest import few, shaken

X, NOISE = 1.3, 0.5
NUM_DRAWS = 40_000
PARAMS = {"weight": 0.8, "prior": -0.2, "loc": 0.1, "log_scale": -0.3}
GUIDE, MODEL = ("loc", "log_scale"), ("weight", "prior")


def decode(params, z):
    return dist.Normal(params["weight"] * jnp.tanh(z), NOISE).to_event(1)


def encode(params, x):
    del x
    return dist.Normal(params["loc"] * jnp.ones(1), jnp.exp(params["log_scale"])).to_event(1)


def model_and_guide(params):
    prior = dist.Normal(params["prior"] * jnp.ones(1), 1.0).to_event(1)
    return LatentModel(prior, Partial(decode, params)), Partial(encode, params)


def log_weight(params, z):
    log_likelihood = dist.Normal(params["weight"] * jnp.tanh(z), NOISE).log_prob(X)
    log_prior = dist.Normal(params["prior"], 1.0).log_prob(z)
    return (
        log_likelihood
        + log_prior
        - dist.Normal(params["loc"], jnp.exp(params["log_scale"])).log_prob(z)
    )


def quadrature_bound(params, num_samples):
    """The bound of one or two samples, every expectation over noise by Gauss-Hermite."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    weights = weights / weights.sum()
    z = params["loc"] + jnp.exp(params["log_scale"]) * nodes
    first = log_weight(params, z)
    if num_samples == 1:
        return weights @ first
    both = logsumexp(jnp.stack(jnp.meshgrid(first, first)), axis=0) - jnp.log(2)
    return weights @ both @ weights


def gradients(terms, params=PARAMS, num=NUM_DRAWS, **options):
    """Name of the parameter -> one gradient per key."""

    def one(key):
        def objective(params):
            return terms(key, *model_and_guide(params), jnp.array([X]), **options).objective

        return jax.grad(objective)(params)

    params = jax.tree.map(jnp.float32, params)
    return jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(0), num))


def standardised_error(values, expected):
    values = np.asarray(values, np.float64)
    return (values.mean() - float(expected)) / (values.std(ddof=1) / np.sqrt(len(values)))


@pytest.mark.parametrize(
    ("terms", "num_samples", "unbiased"),
    [
        (objectives.iwae_terms, 1, GUIDE + MODEL),
        (objectives.iwae_terms, 2, GUIDE + MODEL),
        (objectives.stl_terms, 1, GUIDE + MODEL),
        (objectives.stl_terms, 2, MODEL),
        (objectives.dreg_terms, 1, GUIDE + MODEL),
        (objectives.dreg_terms, 2, GUIDE + MODEL),
    ],
)
def test_gradients_are_those_of_the_bound(terms, num_samples, unbiased):
    found = gradients(terms, num_samples=num_samples)
    exact = jax.grad(quadrature_bound)(jax.tree.map(jnp.float32, PARAMS), num_samples)
    for name in unbiased:
        assert abs(standardised_error(found[name], exact[name])) < 4, name


def test_sticking_the_landing_with_several_samples_is_biased():
    found = gradients(objectives.stl_terms, num_samples=2)
    exact = jax.grad(quadrature_bound)(jax.tree.map(jnp.float32, PARAMS), 2)
    assert abs(standardised_error(found["loc"], exact["loc"])) > 50


def test_the_bias_of_sticking_the_landing_is_the_score_of_the_weights():
    """E[sum_k w_k d log q(z_k) / d guide], what is dropped: by the same quadrature."""

    def dropped(params):
        nodes, weights = np.polynomial.hermite_e.hermegauss(40)
        weights = weights / weights.sum()
        z = PARAMS["loc"] + np.exp(PARAMS["log_scale"]) * nodes
        first = log_weight(PARAMS, z)
        normalised = jax.nn.softmax(jnp.stack(jnp.meshgrid(first, first)), axis=0)
        score = dist.Normal(params["loc"], jnp.exp(params["log_scale"])).log_prob(z)
        return weights @ jnp.sum(normalised * jnp.stack(jnp.meshgrid(score, score)), 0) @ weights

    params = jax.tree.map(jnp.float32, PARAMS)
    found = gradients(objectives.stl_terms, num_samples=2)
    exact, bias = jax.grad(quadrature_bound)(params, 2), jax.grad(dropped)(params)
    for name in GUIDE:
        assert abs(standardised_error(found[name], exact[name] + bias[name])) < 4


@pytest.mark.parametrize("terms", [objectives.stl_terms, objectives.dreg_terms])
def test_the_value_stays_that_of_the_bound(terms):
    model, guide = model_and_guide(PARAMS)
    found, expected = (
        function(jax.random.key(1), model, guide, jnp.array([X]), num_samples=5)
        for function in (terms, objectives.iwae_terms)
    )
    for name, value in expected._asdict().items():
        np.testing.assert_allclose(getattr(found, name), value, rtol=1e-6, err_msg=name)


@pytest.mark.parametrize("terms", [objectives.stl_terms, objectives.dreg_terms])
def test_an_exact_guide_lands_and_stays(terms):
    """A linear decoder has a Gaussian posterior: a guide that is it has no gradient, any noise."""
    precision = 1 + 0.8**2 / NOISE**2

    def objective(params, key):
        def guide(x):
            loc = params["loc"] * x
            return dist.Normal(loc, jnp.exp(params["log_scale"])).to_event(1)

        prior = dist.Normal(jnp.zeros(1), 1.0).to_event(1)
        model = LatentModel(prior, lambda z: dist.Normal(0.8 * z, NOISE).to_event(1))
        return terms(key, model, guide, jnp.array([X]), num_samples=4).objective

    exact = {"loc": 0.8 / NOISE**2 / precision, "log_scale": -0.5 * np.log(precision)}
    exact = jax.tree.map(jnp.float32, exact)
    keys = jax.random.split(jax.random.key(2), 100)
    for gradient in jax.vmap(jax.grad(objective), (None, 0))(exact, keys).values():
        np.testing.assert_allclose(gradient, 0, atol=1e-5)


def test_dreg_keeps_its_signal_where_more_samples_drown_the_guide_of_iwae():
    """Rainforth et al. 2018 (arXiv 1802.04537): iwae's falls as 1 / sqrt(K), that of dreg rises."""

    # A guide wider than the prior, so that weights and their squares have a variance.
    params = PARAMS | {"log_scale": 0.2}

    def signal(terms, num_samples):
        values = gradients(terms, params, num=8_000, num_samples=num_samples)["loc"]
        return float(abs(values.mean()) / values.std())

    assert signal(objectives.iwae_terms, 64) < 0.7 * signal(objectives.iwae_terms, 4)
    assert signal(objectives.dreg_terms, 64) > 1.3 * signal(objectives.dreg_terms, 4)


def test_dreg_decodes_once():
    """Its weights and its bound share one pass through the decoder."""
    weights = jnp.ones((400, 400)) / 400

    def flops(terms):
        def objective(weights, key):
            prior = dist.Normal(jnp.zeros(400), 1.0).to_event(1)
            model = LatentModel(prior, lambda z: dist.Normal(weights @ z, NOISE).to_event(1))
            guide = Partial(lambda x: dist.Normal(0.1 * x, 1.0).to_event(1))
            return terms(key, model, guide, jnp.ones(400), num_samples=8).objective

        compiled = jax.jit(jax.grad(objective)).lower(weights, jax.random.key(0)).compile()
        return compiled.cost_analysis()["flops"]

    assert flops(objectives.dreg_terms) < 1.1 * flops(objectives.iwae_terms)


@pytest.mark.parametrize("terms", [objectives.stl_terms, objectives.dreg_terms])
@pytest.mark.parametrize("name", ["coupling", "iaf", "full_rank"])
def test_a_family_that_is_the_posterior_lands_whatever_it_is(terms, name):
    """Under a likelihood that says nothing the prior is the posterior: take a guide that is it."""
    posterior = make_posterior(PosteriorConfig(name, **few(name)), 2)
    params = shaken(posterior.initial_params(jax.random.key(0)))
    features = jnp.linspace(-0.5, 0.7, posterior.num_features)

    def objective(terms, parts, key):
        prior = posterior.distribution(features, params)
        model = LatentModel(prior, lambda z: dist.Normal(jnp.zeros(1), 1.0).to_event(1))
        return terms(
            key, model, lambda x: posterior.distribution(*parts), jnp.zeros(1), num_samples=4
        ).objective

    @partial(jax.jit, static_argnums=0)
    def largest(terms):
        keys = jax.random.split(jax.random.key(1), 5)
        found = jax.vmap(jax.grad(partial(objective, terms)), (None, 0))((features, params), keys)
        return jnp.max(jnp.stack([jnp.max(jnp.abs(leaf)) for leaf in jax.tree.leaves(found)]))

    assert largest(terms) < 1e-4
    assert largest(objectives.iwae_terms) > 0.1
