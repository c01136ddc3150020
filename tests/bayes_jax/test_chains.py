"""Chains step by step: a run that is stopped and continued gives the draws of one that was not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

from bayes_jax import InputError, mcmc, sample_posterior
from bayes_jax.mcmc import Settings, Starts, engines
from bayes_jax.mcmc.targets import make_target

NUM_WARMUP, NUM_SAMPLES, NUM_CHAINS = 40, 30, 6
SETTINGS = {
    "hmc": Settings(num_warmup=NUM_WARMUP),
    "hmc, far starts": Settings(num_warmup=NUM_WARMUP, far_starts=True, batch_size=2),
    "nuts": Settings(kernel="nuts", num_warmup=NUM_WARMUP, batch_size=3),
}


def banana(z, datum):
    """Twisted along its second coordinate, by as much as the datum says."""
    return -0.5 * (z[0] ** 2 + (z[1] - datum * z[0] ** 2) ** 2)


DATA = jnp.array([0.1, 0.5, 1.0])


def starts_of(key) -> Starts:
    """One chain of each x so far out that it has to climb."""
    positions = jax.random.normal(key, (len(DATA), NUM_CHAINS, 2)).at[:, 0].add(30.0)
    return jax.vmap(engines.spread_starts)(positions)


def run(settings, warm_up_in, sample_in):
    """Chains and draws of a run in so many portions."""
    chains = mcmc.init(
        jax.random.key(1), banana, DATA, starts_of(jax.random.key(0)), settings=settings
    )
    for num_moves in warm_up_in:
        chains = mcmc.warm_up(banana, DATA, chains, settings=settings, num_moves=num_moves)
    parts = []
    for num_samples in sample_in:
        chains, draws = mcmc.sample(
            banana, DATA, chains, num_samples=num_samples, settings=settings
        )
        parts.append(draws)
    return chains, parts


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.long if name == "nuts" else ()) for name in SETTINGS],
)
def test_a_continued_run_draws_what_an_unbroken_one_does(name):
    """Through the warm-up's windows and between the kept draws, to the last bit."""
    settings = SETTINGS[name]
    chains, (whole,) = run(settings, [None], [NUM_SAMPLES])
    continued, parts = run(settings, [7, 13, 20], [11, 19])
    for field in ("z", "log_joint", "energy"):
        joined = jnp.concatenate([getattr(part, field) for part in parts], axis=2)
        np.testing.assert_array_equal(joined, getattr(whole, field), err_msg=field)
    np.testing.assert_array_equal(parts[-1].num_grads, whole.num_grads)
    assert int(chains.num_moves) == int(continued.num_moves) == NUM_WARMUP + NUM_SAMPLES
    # All that a run needs to go on is arrays.
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(chains))


def test_in_steps_or_at_once_the_draws_are_the_same(nonlinear_case):
    """A few moves: an accept decision that rounding turns sends a chain elsewhere for good."""
    few = 3
    case, key = nonlinear_case, jax.random.key(2)
    x = case.x[:4]
    at_once = sample_posterior(
        key, case.model, x, guide=case.guide, num_warmup=few, num_samples=few
    )
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(4))
    key_start, key_chains = jnp.moveaxis(jax.vmap(jax.random.split)(keys), 1, 0)
    start = jax.vmap(lambda key, x: engines.start(key, case.model, case.guide, x, num_chains=16))
    density = Partial(joint, case.model)
    settings = Settings(num_warmup=few)
    chains = mcmc.init(key, density, x, start(key_start, x), settings=settings)
    chains = mcmc.warm_up(density, x, chains._replace(key=key_chains), settings=settings)
    _, draws = mcmc.sample(density, x, chains, num_samples=few, settings=settings)
    np.testing.assert_allclose(draws.z, at_once.z, atol=1e-3)


def joint(model, z, x):
    return model.prior.log_prob(z) + model.likelihood(z).log_prob(x)


def test_some_chains_start_from_the_prior_beside_a_guide(nonlinear_case):
    case = nonlinear_case

    def start(guide, num_chains):
        return engines.start(jax.random.key(3), case.model, guide, case.x[0], num_chains=num_chains)

    assert start(case.guide, 16).from_prior.tolist() == [False] * 12 + [True] * 4
    assert start(case.guide, 6).from_prior.tolist() == [False] * 3 + [True] * 3
    assert not start(None, 16).from_prior.any()
    # The guide is narrow and the prior is not.
    many = start(case.guide, 4000)
    prior = jax.random.split(jax.random.key(4), 4000)
    spread = jnp.std(jax.vmap(case.model.prior.sample)(prior), axis=0)
    assert np.all(jnp.std(many.positions[:-4], axis=0) < 0.9 * spread)


@pytest.mark.slow
def test_a_rough_force_costs_acceptance_and_no_accuracy(nonlinear_case):
    """bfloat16 forces: the draws' log joint is in full precision, their moments are right."""
    case = nonlinear_case
    draws = sample_posterior(
        jax.random.key(5), case.model, case.x[:24], num_samples=600, force_dtype="bfloat16"
    )
    exact = jax.vmap(jax.vmap(jax.vmap(joint, (None, 0, None)), (None, 0, None)), (None, 0, 0))(
        case.model, draws.z[:, :2, :5], case.x[:24]
    )
    np.testing.assert_allclose(draws.log_joint[:, :2, :5], exact, atol=1e-4)
    assert draws.z.dtype == jnp.float32
    assert float(draws.accept.min()) > 0.6
    found = mcmc_errors(draws)
    error = (np.asarray(draws.z).mean(axis=(1, 2)) - np.asarray(case.mean[:24])) / found
    assert np.abs(error).max() < 5
    assert 0.7 < np.sqrt(np.mean(error**2)) < 1.3


def mcmc_errors(draws):
    from bayes_jax import diagnose

    return np.asarray(diagnose(draws).mcse_mean)


def test_the_rough_force_is_rough():
    """Or the test above would show nothing."""
    target = make_target(Partial(banana, datum=jnp.float32(0.37)), "bfloat16")
    exact = make_target(Partial(banana, datum=jnp.float32(0.37)))
    z = jnp.array([0.71, -1.33])
    rough, fine = target.start(z), exact.start(z)
    assert float(rough.terms[0]) == float(fine.terms[0])
    error = np.abs(np.asarray(rough.terms[1] - fine.terms[1]))
    assert 1e-4 < error.max() < 0.05


def test_steps_that_make_no_sense_are_named():
    settings = Settings(num_warmup=4)
    starts = starts_of(jax.random.key(0))
    key = jax.random.key(1)
    with pytest.raises(InputError, match="kernel is 'gibbs'"):
        mcmc.init(key, banana, DATA, starts, settings=Settings(kernel="gibbs"))
    none = Starts(starts.positions[:, :0], starts.factor, starts.from_prior[:, :0])
    with pytest.raises(InputError, match="num_chains is 0"):
        mcmc.init(key, banana, DATA, none, settings=settings)
    with pytest.raises(InputError, match=r"leading axes of the data are \[2, 3\]"):
        mcmc.init(key, banana, DATA[:2], starts, settings=settings)
    half = Settings(kernel="nuts", force_dtype="bfloat16")
    with pytest.raises(InputError, match="force_dtype is 'bfloat16': expected 'float32' with"):
        mcmc.init(key, banana, DATA, starts, settings=half)
    chains = mcmc.init(key, banana, DATA, starts, settings=settings)
    with pytest.raises(InputError, match="the warm-up has made 0 of 4 moves"):
        mcmc.sample(banana, DATA, chains, num_samples=1, settings=settings)
    with pytest.raises(InputError, match="num_moves is 5: expected 0 to 4"):
        mcmc.warm_up(banana, DATA, chains, settings=settings, num_moves=5)
    chains = mcmc.warm_up(banana, DATA, chains, settings=settings)
    with pytest.raises(InputError, match="num_samples is 0"):
        mcmc.sample(banana, DATA, chains, num_samples=0, settings=settings)


def test_public_starts_are_those_of_a_whole_run(nonlinear_case):
    case, key = nonlinear_case, jax.random.key(4)
    starts = mcmc.posterior_starts(key, case.model, case.x[:3], guide=case.guide, num_chains=9)
    assert starts.positions.shape == (3, 9, 2)
    assert starts.from_prior.sum(axis=1).tolist() == [4, 4, 4]
    tail = mcmc.posterior_starts(
        key, case.model, case.x[1:3], guide=case.guide, num_chains=9, index_offset=1
    )
    np.testing.assert_array_equal(starts.positions[1:], tail.positions)
    with pytest.raises(InputError, match="num_chains is 0"):
        mcmc.posterior_starts(key, case.model, case.x[:3], num_chains=0)
