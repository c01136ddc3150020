"""Schedules rise from 0 to 1; the adaptive one spends its steps where the weights spread."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bayes_jax import InputError, annealed_draws, annealed_evidence
from bayes_jax.annealing.schedules import (
    FIXED_SCHEDULES,
    check_schedule,
    equal_spread_schedule,
    sigmoid_schedule,
)


@pytest.mark.parametrize("name", list(FIXED_SCHEDULES))
@pytest.mark.parametrize("num_temperatures", [2, 100, 1000])
def test_schedules_rise_from_zero_to_one(name, num_temperatures):
    betas = np.asarray(FIXED_SCHEDULES[name](num_temperatures))
    assert betas.shape == (num_temperatures + 1,)
    check_schedule(betas)


def test_sigmoid_is_dense_at_both_ends():
    steps = np.diff(np.asarray(sigmoid_schedule(100)))
    np.testing.assert_allclose(steps, steps[::-1], rtol=1e-3)
    assert steps[0] < 0.3 * steps[50]


def test_equal_spread_is_equal_thermodynamic_length():
    """Spread exp(-rate beta): its length up to beta is (1 - exp(-rate beta)) / (1 - exp(-rate))."""
    rate, knots = 6.0, jnp.linspace(0.0, 1.0, 20)
    betas = np.asarray(equal_spread_schedule(knots, 40 * jnp.exp(-rate * knots), 50), np.float64)
    check_schedule(betas)
    length = (1 - np.exp(-rate * betas)) / (1 - np.exp(-rate))
    # A tenth of the steps are spread evenly over beta.
    np.testing.assert_allclose(0.9 * length + 0.1 * betas, np.linspace(0, 1, 51), atol=2e-3)


@pytest.mark.parametrize(
    "spread",
    [
        jnp.zeros(5),
        jnp.array([3.0, 0.0, 0.0, 0.0, 1.0]),
        jnp.array([jnp.inf, 2.0, jnp.nan, 1.0, 0.5]),
        jnp.full(5, jnp.nan),
    ],
)
def test_steps_come_whatever_spread_was_seen(spread):
    check_schedule(equal_spread_schedule(jnp.linspace(0, 1, 5), spread, 20))


@pytest.mark.slow
def test_adaptive_beats_linear_from_a_prior_far_away(linear_case):
    """As many temperatures, few of them: the weights of an adaptive schedule spread less."""
    spread = {
        schedule: np.var(
            annealed_draws(
                jax.random.key(0),
                linear_case.model,
                linear_case.x,
                num_temperatures=20,
                schedule=schedule,
                transition="elliptical",
            ).log_weight,
            axis=1,
            ddof=1,
        )
        for schedule in ("linear", "adaptive")
    }
    gain = spread["linear"] - spread["adaptive"]
    assert gain.mean() > 3 * gain.std(ddof=1) / np.sqrt(len(gain))


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        ("cosine", "schedule is 'cosine': expected sigmoid, power, linear, adaptive"),
        (np.array([0.0, 0.5, 0.5, 1.0]), "does not rise at step 2: 0.5 is followed by 0.5"),
        (np.array([0.0, 0.7, 0.4, 1.0]), "does not rise at step 2: 0.7 is followed by 0.4"),
        (np.array([0.0, np.nan, 1.0]), "does not rise at step 1"),
        (np.array([0.1, 0.5, 1.0]), r"goes from 0.1 to 1: expected 0 to 1"),
        (np.array([0.0, 0.5, 0.9]), r"goes from 0 to 0.9: expected 0 to 1"),
        (np.array([0.0, 1.0]), r"shape \(2,\): expected at least 3"),
    ],
)
def test_schedules_that_make_no_sense_are_named(linear_case, schedule, message):
    with pytest.raises(InputError, match=message):
        annealed_evidence(jax.random.key(0), linear_case.model, linear_case.x, schedule=schedule)


@pytest.mark.slow
def test_given_temperatures_are_walked(linear_case):
    """The sigmoid schedule given as an array is the sigmoid schedule."""
    options = {"num_chains": 2, "num_temperatures": 6, "transition": "elliptical"}
    named, given = (
        annealed_evidence(
            jax.random.key(1), linear_case.model, linear_case.x[:4], schedule=schedule, **options
        )
        for schedule in ("sigmoid", sigmoid_schedule(6))
    )
    np.testing.assert_array_equal(named.lower, given.lower)
    with pytest.raises(InputError, match="num_temperatures is 5 and schedule has 6 steps"):
        annealed_evidence(
            jax.random.key(1),
            linear_case.model,
            linear_case.x,
            num_temperatures=5,
            schedule=sigmoid_schedule(6),
        )
