"""One compile for every set of params: an engine called again traces the likelihood no more."""

import itertools

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
import pytest
from jax.tree_util import Partial

from bayes_jax import (
    LatentModel,
    annealed_evidence,
    elbo,
    evidence_sandwich,
    fit_posterior,
    importance_bound,
    importance_draws,
    inference_gaps,
    log_joint,
    mcmc,
    sample_batch,
    sample_posterior,
    simulate,
    smc_evidence,
)
from bayes_jax.exact import quadrature
from bayes_jax.model import check_observations

NUM_TRACES = 0
LATENT_DIM = 2
# The forward pass alone of each part of an engine: a loop unrolled in Python would make more.
MOST_TRACES = 12
# Every call of an engine for the first time gets shapes that no other has: what one engine traced
# would spare the next some of its own.
UNUSED_DIMS = itertools.count(3)


def counted_likelihood(params, z):
    global NUM_TRACES
    NUM_TRACES += 1
    loading, mean = params
    return dist.Normal(loading @ z + mean, 0.5).to_event(1)


def linear_guide(params, x):
    return dist.Normal(params @ x, 0.5).to_event(1)


def make(dim, seed):
    """Key, model, guide and x of one shape, with all values and all objects new."""
    key, *keys = jax.random.split(jax.random.key(seed), 5)
    params = (jax.random.normal(keys[0], (dim, LATENT_DIM)), jax.random.normal(keys[1], (dim,)))
    prior = dist.Normal(jnp.zeros(LATENT_DIM), 1.0 + 0.1 * seed).to_event(1)
    model = LatentModel(prior, Partial(counted_likelihood, params))
    guide = Partial(linear_guide, 0.1 * jax.random.normal(keys[2], (LATENT_DIM, dim)))
    return key, model, guide, jax.random.normal(keys[3], (2, dim))


FEW_CHAINS = {"num_chains": 2, "num_warmup": 10, "num_samples": 2}
FEW_STEPS = {"num_steps": 2, "num_samples": 2}
FEW_TEMPERATURES = {"num_chains": 2, "num_temperatures": 3}


def joint_of(model, z, x):
    return log_joint(model, z, x)


def in_steps(key, model, guide, x):
    """Starts, warm-up in two portions, draws."""
    settings, density = mcmc.Settings(num_warmup=8), Partial(joint_of, model)
    starts = mcmc.posterior_starts(key, model, x, guide=guide, num_chains=3)
    chains = mcmc.init(key, density, x, starts, settings=settings)
    for _ in range(2):
        chains = mcmc.warm_up(density, x, chains, settings=settings, num_moves=4)
    return mcmc.sample(density, x, chains, num_samples=2, settings=settings)[1]


SLOW = {"smc_evidence", "nuts from a guide", "inference_gaps"}
ENGINES = {
    "simulate": lambda key, model, guide, x: simulate(key, model, 2),
    "check_observations": lambda key, model, guide, x: check_observations(model, x),
    "quadrature": lambda key, model, guide, x: quadrature.log_evidence(model, x, num_points=8),
    "importance_bound": lambda key, model, guide, x: importance_bound(
        key, model, x, guide=guide, num_samples=2
    ),
    "elbo": lambda key, model, guide, x: elbo(key, model, x, guide=guide, num_samples=2),
    "importance_draws": lambda key, model, guide, x: importance_draws(
        key, model, x, guide=guide, num_samples=2, batch_size=1
    ),
    "annealed_evidence": lambda key, model, guide, x: annealed_evidence(
        key, model, x, **FEW_TEMPERATURES
    ),
    "evidence_sandwich": lambda key, model, guide, x: evidence_sandwich(
        key, model, jnp.zeros((len(x), LATENT_DIM)), x, guide=guide, **FEW_TEMPERATURES
    ),
    "smc_evidence": lambda key, model, guide, x: smc_evidence(
        key, model, x, guide=guide, target_ess=0.5, num_particles=4, num_runs=2
    ),
    "fit_posterior": lambda key, model, guide, x: fit_posterior(
        key, model, x, num_elbo_samples=2, **FEW_STEPS
    ),
    "fit_posterior from a guide": lambda key, model, guide, x: fit_posterior(
        key, model, x, guide=guide, family="full_rank", num_elbo_samples=2, **FEW_STEPS
    ),
    "fit_posterior with checks": lambda key, model, guide, x: fit_posterior(
        key, model, x, guide=guide, num_steps=151, num_samples=2, num_elbo_samples=2
    ),
    "hmc": lambda key, model, guide, x: sample_posterior(key, model, x, **FEW_CHAINS),
    "hmc from a guide": lambda key, model, guide, x: sample_posterior(
        key, model, x, guide=guide, batch_size=1, **FEW_CHAINS
    ),
    "nuts from a guide": lambda key, model, guide, x: sample_posterior(
        key, model, x, guide=guide, kernel="nuts", **FEW_CHAINS
    ),
    "sample_batch": lambda key, model, guide, x: sample_batch(
        key,
        Partial(joint_of, model),
        x,
        jnp.zeros((len(x), 2, LATENT_DIM)),
        num_warmup=10,
        num_samples=2,
    ),
    "mcmc in steps": in_steps,
    "nuts": lambda key, model, guide, x: sample_posterior(
        key, model, x, kernel="nuts", **FEW_CHAINS
    ),
    # From a guide: annealing, ELBO and fit.
    "inference_gaps": lambda key, model, guide, x: inference_gaps(
        key, model, x, guide=guide, **FEW_STEPS, **FEW_TEMPERATURES
    ),
}


def traces_of(engine, arguments) -> int:
    before = NUM_TRACES
    jax.block_until_ready(engine(*arguments))
    return NUM_TRACES - before


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.long if name in SLOW else ()) for name in ENGINES],
)
def test_traces(name):
    """None in a second call; in a fresh shape as many as in the first, however many x."""
    engine, dim = ENGINES[name], next(UNUSED_DIMS)
    first = traces_of(engine, make(dim, seed=0))
    assert 0 < first <= MOST_TRACES
    for seed in (1, 2):
        assert traces_of(engine, make(dim, seed=seed)) == 0
    key, model, guide, x = make(next(UNUSED_DIMS), seed=3)
    assert traces_of(engine, (key, model, guide, jnp.concatenate([x, x]))) == first


def test_offsets_are_values():
    dim = next(UNUSED_DIMS)
    for index_offset in (0, 7):
        key, model, guide, x = make(dim, seed=0)
        before = NUM_TRACES
        elbo(key, model, x, guide=guide, num_samples=3, index_offset=index_offset)
    assert before == NUM_TRACES
