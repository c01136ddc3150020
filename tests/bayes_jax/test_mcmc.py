"""Posterior draws have the moments of the truth, for every x, and a bad row harms no other."""

import inspect
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

from bayes_jax import Draws, InputError, diagnose, sample_batch, sample_posterior
from bayes_jax.exact import linear_gaussian
from bayes_jax.mcmc import hmc
from bayes_jax.mcmc.climb import NUM_STEPS

# Standard errors of this many independent draws are themselves known to a tenth.
MOST_STANDARD_ERRORS = 5
NUM_DRAWS = 600
ROWS = slice(0, 24)


def check_moments(draws: Draws, mean, covariance):
    """Mean and centred second moments of every x and latent, within their Monte Carlo errors."""
    mean, covariance = (np.asarray(moment, np.float64) for moment in (mean, covariance))
    pairs = list(itertools.combinations_with_replacement(range(mean.shape[1]), 2))
    centred = draws.z - mean[:, None, None].astype(np.float32)
    products = [centred[..., i] * centred[..., j] for i, j in pairs]
    features = jnp.concatenate([centred, jnp.stack(products, axis=-1)], axis=-1)
    expected = np.concatenate(
        [np.zeros_like(mean), np.stack([covariance[:, i, j] for i, j in pairs], axis=1)], axis=1
    )
    error = np.asarray(diagnose(draws._replace(z=features)).mcse_mean, np.float64)
    found = np.asarray(features, np.float64).mean(axis=(1, 2))
    standardised = (found - expected) / error
    assert np.max(np.abs(standardised)) < MOST_STANDARD_ERRORS
    # The errors are not so large that anything would pass, and they are neither too small.
    assert 0.7 < np.sqrt(np.mean(standardised**2)) < 1.3
    scale = np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))
    assert np.max(error[:, : mean.shape[1]] / scale) < 0.1
    assert bool(jnp.all(draws.valid))


_DRAWS: dict[str, Draws] = {}


def hmc_draws(case) -> Draws:
    """HMC without a guide, drawn once for the tests that look at it."""
    if case.name not in _DRAWS:
        _DRAWS[case.name] = sample_posterior(
            jax.random.key(0), case.model, case.x[ROWS], num_samples=NUM_DRAWS
        )
    return _DRAWS[case.name]


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["linear_gaussian", pytest.param("poisson", marks=pytest.mark.long), "nonlinear_bernoulli"],
)
def test_hmc_moments(cases, name):
    case = cases(name)
    check_moments(hmc_draws(case), case.mean[ROWS], case.covariance[ROWS])


@pytest.mark.slow
def test_hmc_moments_with_a_guide(nonlinear_case):
    draws = sample_posterior(
        jax.random.key(1),
        nonlinear_case.model,
        nonlinear_case.x[ROWS],
        guide=nonlinear_case.guide,
        num_samples=NUM_DRAWS,
    )
    check_moments(draws, nonlinear_case.mean[ROWS], nonlinear_case.covariance[ROWS])


@pytest.mark.long
def test_nuts_moments_nonlinear(nonlinear_case):
    rows = slice(0, 12)
    draws = sample_posterior(
        jax.random.key(2),
        nonlinear_case.model,
        nonlinear_case.x[rows],
        kernel="nuts",
        num_chains=4,
        num_warmup=300,
        num_samples=300,
        batch_size=12,
    )
    check_moments(draws, nonlinear_case.mean[rows], nonlinear_case.covariance[rows])
    # Each of the 4 x 600 trees took a gradient at least, and 1,023 at most.
    assert np.all(draws.num_grads > 4 * 600)
    assert np.all(draws.num_grads < 4 * 600 * 30)
    assert len(np.unique(draws.num_grads)) > 6


@pytest.mark.slow
def test_ill_conditioned_posterior_without_a_guide():
    """Standard deviations 0.01 and 1 along turned axes: the warm-up has to find them."""
    turn = np.array([[np.cos(0.5), -np.sin(0.5)], [np.sin(0.5), np.cos(0.5)]])
    params = linear_gaussian.LinearGaussian(
        loading=jnp.float32(np.diag([100.0, 1e-3]) @ turn.T),
        mean=jnp.zeros(2),
        variance=jnp.ones(2),
    )
    model = linear_gaussian.latent_model(params)
    x = jnp.array([[30.0, 0.0], [-120.0, 1.0], [0.0, 0.0], [5.0, 2.0]])
    exact = jax.vmap(lambda x: linear_gaussian.posterior(params, x).covariance_matrix)(x)
    mean = jax.vmap(lambda x: linear_gaussian.posterior(params, x).mean)(x)
    assert np.linalg.cond(np.asarray(exact[0], np.float64)) > 0.9e4
    draws = sample_posterior(jax.random.key(4), model, x)
    check_moments(draws, mean, exact)
    # Not by brute force: steps that fit the narrow axis would leave a handful of the 3,200.
    assert float(jnp.min(diagnose(draws).ess_bulk)) > 300


def test_draws_carry_their_log_joint_and_energy(linear_case):
    draws = hmc_draws(linear_case)
    z, x = np.asarray(draws.z[5, 2, :10], np.float64), np.asarray(linear_case.x[5], np.float64)
    params = linear_case.model.likelihood.args[0]
    for draw in range(10):
        likelihood = dist.Normal(params.loading @ z[draw] + params.mean, jnp.sqrt(params.variance))
        expected = dist.Normal().log_prob(z[draw]).sum() + likelihood.log_prob(x).sum()
        np.testing.assert_allclose(draws.log_joint[5, 2, draw], expected, atol=1e-3)
    # The energy where a move starts is -log p of the draw before, plus |p|^2 / 2 with p normal.
    kinetic = np.asarray(draws.energy[..., 1:] + draws.log_joint[..., :-1], np.float64)
    assert kinetic.min() > -1e-3
    assert abs(kinetic.mean() - 1) < 5 * kinetic.std() / np.sqrt(kinetic.size)


def test_acceptance_after_warm_up_is_near_its_target(nonlinear_case):
    """The plain mean of what is steered by its harmonic mean."""
    draws = sample_posterior(
        jax.random.key(0), nonlinear_case.model, nonlinear_case.x, num_samples=50, num_leapfrogs=2
    )
    accept = np.asarray(draws.accept)
    assert accept.min() > 0.6
    assert 0.75 < accept.mean() < 0.9


def test_hmc_gradients_are_counted(linear_case):
    """16 chains, so many leapfrogs in each of 400 + NUM_DRAWS moves, one at the start, a climb."""
    per_chain = 1 + (400 + NUM_DRAWS) * hmc.NUM_LEAPFROGS + NUM_STEPS
    assert np.all(hmc_draws(linear_case).num_grads == 16 * per_chain)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kernel", "num_chains", "num_warmup"), [("hmc", 3, 4), ("hmc", 2, 20), ("nuts", 1, 4)]
)
def test_gradients_of_a_short_run_are_those_counted_on_the_host(kernel, num_chains, num_warmup):
    """Besides them, the density is looked at once where each chain starts."""
    calls = 0

    def count(_):
        nonlocal calls
        calls += 1

    def counted(z, datum):
        jax.debug.callback(count, z[0])
        return -0.5 * jnp.sum((z - datum) ** 2)

    draws = sample_batch(
        jax.random.key(5),
        counted,
        jnp.zeros(1),
        jnp.zeros((1, num_chains, 2)),
        kernel=kernel,
        num_warmup=num_warmup,
        num_samples=2,
    )
    jax.block_until_ready(draws)
    jax.effects_barrier()
    assert calls == int(draws.num_grads[0]) + num_chains
    if num_warmup == 4 and kernel == "hmc":
        assert int(draws.num_grads[0]) == hmc.num_gradients(num_chains, 6)


def stiff_density(z, datum):
    """A Gaussian up to about zero, beyond which it falls like exp(-exp(z))."""
    return -0.5 * jnp.sum(z**2) - jnp.sum(jnp.exp(datum * z))


def test_one_chain_in_a_stiff_tail_gets_out():
    """At z = 4 only steps of a tenth are accepted; the 15 other chains accept ten times that."""
    init = jnp.zeros((2, 16, 1)).at[0, 5, 0].set(4.0)
    draws = sample_batch(
        jax.random.key(15), stiff_density, jnp.full(2, 1.5), init, num_warmup=200, num_samples=20
    )
    assert float(jnp.max(draws.z)) < 2.0
    assert np.all(draws.accept > 0.8)


SHORT = {"num_chains": 2, "num_warmup": 10, "num_samples": 5}


@pytest.mark.slow
def test_batch_size_and_offset_change_nothing_and_rows_have_their_own_noise(linear_case):
    """A short run: an accept decision that rounding turns sends a chain elsewhere for good."""

    def short(x, **rows):
        return sample_posterior(
            jax.random.key(6), linear_case.model, x, guide=linear_case.guide, **SHORT, **rows
        )

    x = jnp.broadcast_to(linear_case.x[:1], (8, 5))
    whole = short(x)
    tail = short(x[1:], index_offset=1, batch_size=3)
    np.testing.assert_allclose(whole.z[1:], tail.z, atol=1e-3)
    assert len(np.unique(whole.z[..., 0, 0])) == 16
    assert len(np.unique(np.asarray(whole.energy))) == whole.energy.size


def tree_density(z, datum):
    """A normal scalar and a pair tied to it, in a pytree, with a log normaliser left out."""
    pair = (z["pair"] - datum["slope"] * z["scalar"]) / datum["scale"]
    return -0.5 * (z["scalar"] - datum["loc"]) ** 2 - 0.5 * jnp.sum(pair**2) + 123.0


@pytest.mark.slow
def test_pytree_positions_and_data_against_the_closed_form():
    num_rows, num_chains, num_draws = 6, 16, 300
    loc, slope, scale = np.linspace(-3, 3, num_rows), np.array([0.5, -2.0]), np.array([0.4, 3.0])
    data = {
        "loc": jnp.float32(loc),
        "slope": jnp.broadcast_to(jnp.float32(slope), (num_rows, 2)),
        "scale": jnp.broadcast_to(jnp.float32(scale), (num_rows, 2)),
    }
    init = {
        "scalar": jnp.zeros((num_rows, num_chains)),
        "pair": jnp.ones((num_rows, num_chains, 2)),
    }
    draws = sample_batch(
        jax.random.key(7),
        tree_density,
        data,
        init,
        num_warmup=300,
        num_samples=num_draws,
    )
    assert draws.z["scalar"].shape == (num_rows, num_chains, num_draws)
    assert draws.z["pair"].shape == (num_rows, num_chains, num_draws, 2)
    # The chains start together, and each goes its own way.
    assert len(np.unique(draws.z["scalar"][..., -1])) == num_rows * num_chains
    vector = jnp.concatenate([draws.z["scalar"][..., None], draws.z["pair"]], axis=-1)
    mean = np.concatenate([loc[:, None], loc[:, None] * slope], axis=1)
    load = np.concatenate([[1.0], slope])
    covariance = np.outer(load, load) + np.diag(np.concatenate([[0.0], scale**2]))
    check_moments(draws._replace(z=vector), mean, np.broadcast_to(covariance, (num_rows, 3, 3)))
    value = jax.vmap(jax.vmap(jax.vmap(tree_density, (0, None)), (0, None)))(draws.z, data)
    np.testing.assert_allclose(draws.log_joint, value, atol=1e-3)


def bounded_density(z, datum):
    """Normal above a bound and impossible below, plus whatever is added."""
    inside = jnp.all(z > datum["bound"])
    return jnp.where(inside, -0.5 * jnp.sum(z**2), -jnp.inf) + datum["added"]


@pytest.mark.slow
@pytest.mark.parametrize("kernel", ["hmc", "nuts"])
def test_a_row_gone_wrong_is_told_and_harms_no_other(kernel):
    """NaN, -inf and +inf densities, a start outside the support: each in its own row only."""
    good = {"bound": jnp.full(6, -50.0), "added": jnp.zeros(6)}
    bad = {
        "bound": good["bound"].at[4].set(0.2),
        "added": good["added"]
        .at[jnp.array([0, 2, 3])]
        .set(jnp.array([jnp.nan, -jnp.inf, jnp.inf])),
    }
    init = 0.1 * jnp.broadcast_to(jnp.arange(6.0).reshape(3, 2) - 1.0, (6, 3, 2))
    options = {"kernel": kernel, "num_warmup": 20, "num_samples": 10}
    clean = sample_batch(jax.random.key(8), bounded_density, good, init, **options)
    mixed = sample_batch(jax.random.key(8), bounded_density, bad, init, **options)
    assert np.asarray(clean.valid).all()
    assert np.asarray(mixed.valid).tolist() == [False, True, False, False, False, True]
    for row in (1, 5):
        np.testing.assert_allclose(clean.z[row], mixed.z[row], atol=1e-5)
        assert np.isfinite(mixed.energy[row]).all()


def test_one_chain_outside_the_support_spoils_its_row_only():
    """A start at NaN, too."""
    data = {"bound": jnp.full(6, -50.0), "added": jnp.zeros(6)}
    init = jnp.zeros((6, 3, 2)).at[2, 1, 0].set(-60.0).at[4, 2, 1].set(jnp.nan)
    draws = sample_batch(
        jax.random.key(9), bounded_density, data, init, num_warmup=20, num_samples=10
    )
    assert np.asarray(draws.valid).tolist() == [True, True, False, True, False, True]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"num_chains": 0}, "num_chains is 0: expected at least 1"),
        ({"num_samples": 0}, "num_samples is 0: expected at least 1"),
        ({"num_warmup": -1}, "num_warmup is -1: expected at least 0"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"kernel": "gibbs"}, "kernel is 'gibbs': expected 'hmc' or 'nuts'"),
    ],
)
def test_wrong_options_of_sample_posterior_are_named(linear_case, options, words):
    unchecked = inspect.unwrap(sample_posterior)  # the test run's type check would come first
    with pytest.raises(InputError, match=words) as error:
        unchecked(jax.random.key(0), linear_case.model, linear_case.x, **options)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("data", "init", "options", "words"),
    [
        (np.zeros(3), np.zeros((4, 2, 2)), {}, r"leading axes of the data are \[3, 4\]"),
        (np.zeros(3), np.zeros((3, 0, 2)), {}, "num_chains is 0"),
        (np.zeros(3), np.zeros(3), {}, "num_chains is 0"),
        (np.zeros(3), (np.zeros((3, 2)), np.zeros((3, 4))), {}, r"init has \[2, 4\] chains"),
        (np.zeros(3), np.zeros((3, 2, 2)), {"num_samples": 0}, "num_samples is 0"),
        (np.zeros(3), np.zeros((3, 2, 2)), {"batch_size": 0}, "batch_size is 0"),
    ],
)
def test_wrong_input_of_sample_batch_is_named(data, init, options, words):
    with pytest.raises(InputError, match=words) as error:
        sample_batch(jax.random.key(0), tree_density, data, init, **options)
    assert "\n" not in str(error.value)
