"""Annealed weights are unbiased, the bound is a bound, and it is tight where the issue asks it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

from bayes_jax import InputError, annealed_draws, annealed_evidence


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "from_guide"),
    [
        ("poisson", False),
        ("mixture_prior", False),
        ("linear_gaussian", True),
        ("nonlinear_bernoulli", True),
    ],
)
def test_mean_weight_is_the_evidence(cases, check_mean_weight, name, from_guide):
    check_mean_weight(cases(name), from_guide=from_guide)


@pytest.mark.slow
def test_mean_weight_is_the_evidence_over_paths_that_are_drawn_anew(linear_case):
    """Few chains on each of many paths: a path that looked at its chains would bias the mean."""
    x = jnp.tile(linear_case.x[:1], (6000, 1))
    draws = annealed_draws(
        jax.random.key(3), linear_case.model, x, num_chains=2, num_temperatures=8
    )
    relative = np.exp(np.asarray(draws.log_weight - linear_case.log_evidence[0], np.float64))
    per_path = relative.mean(axis=1)
    assert abs(per_path.mean() - 1) < 4 * per_path.std(ddof=1) / np.sqrt(len(per_path))


@pytest.mark.slow
def test_batch_size_and_offset_change_nothing(linear_case):
    options = {"guide": linear_case.guide, "num_chains": 4, "num_temperatures": 10}
    key, model, x = jax.random.key(6), linear_case.model, linear_case.x[:12]
    whole = annealed_evidence(key, model, x, **options)
    tail = annealed_evidence(key, model, x[7:], index_offset=7, batch_size=3, **options)
    np.testing.assert_allclose(whole.lower[7:], tail.lower, atol=1e-3)
    assert len(np.unique(whole.lower)) == 12


@pytest.mark.slow
@pytest.mark.parametrize("transition", ["hmc", "hmc_bfloat16"])
def test_gradients_are_counted(linear_case, transition):
    """Against gradients counted on the host, those of the pilot included."""
    calls = 0

    def count(_):
        nonlocal calls
        calls += 1

    def counted_likelihood(z):
        jax.debug.callback(count, z[0])
        return linear_case.model.likelihood(z)

    model = linear_case.model._replace(likelihood=Partial(counted_likelihood))
    draws = annealed_draws(
        jax.random.key(7),
        model,
        linear_case.x[:1],
        num_chains=3,
        num_temperatures=5,
        transition=transition,
    )
    jax.block_until_ready(draws)
    jax.effects_barrier()
    support_check = 1
    assert calls == int(draws.num_grads[0]) + support_check


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_temperatures": 1}, "num_temperatures is 1"),
        ({"num_chains": 0}, "num_chains is 0"),
        ({"batch_size": 0}, "batch_size is 0"),
    ],
)
def test_wrong_counts_are_named(linear_case, options, message):
    with pytest.raises(InputError, match=message):
        annealed_evidence(jax.random.key(0), linear_case.model, linear_case.x, **options)


def test_observations_outside_the_support_are_refused(nonlinear_case):
    grey = nonlinear_case.x.at[5, 0].set(0.5)
    with pytest.raises(InputError, match=r"x\[5\] .*boolean"):
        annealed_evidence(jax.random.key(0), nonlinear_case.model, grey)
