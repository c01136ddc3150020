"""The rule by which a fit stops, on objectives whose rise is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bayes_jax.ascent import COOL_DOWN, NUM_CHECK_SAMPLES, WINDOW, ascend, half_cosine, has_risen

PATIENCE = 75
NUM_STEPS = 1000


def flat(key, params, num):
    """No rise at all, whatever the noise."""
    return jax.random.normal(key, (num,)) + 0 * params


def steady(key, params, num):
    """Rises by the same at every step."""
    return jax.random.normal(key, (num,)) + params


def broken(key, params, num):
    return jnp.full(num, jnp.nan) * params


def sinking(key, params, num):
    """Each step up its gradient goes down."""
    return jax.random.normal(key, (num,)) + params - 2 * jax.lax.stop_gradient(params)


def breaking(key, params, num):
    """Rises, and is no number where two windows and a half would lead."""
    return jnp.where(params > 2.5 * 0.05 * WINDOW, jnp.nan, steady(key, params, num))


def saturating(key, params, num):
    """A parabola with its top at 1, twenty steps away, under noise that moves the top."""
    return -((params - 1 - 0.1 * jax.random.normal(key, (num,))) ** 2)


def climb(objective, *, num_steps=NUM_STEPS, least_rise=1.0):
    return ascend(
        jax.random.key(0),
        objective,
        jnp.array(0.0),
        num_steps=num_steps,
        num_samples=4,
        patience=PATIENCE,
        learning_rate=0.05,
        least_rise=least_rise,
    )


def spent(num_steps, num_windows):
    return 4 * num_steps + NUM_CHECK_SAMPLES * (1 + num_windows)


@pytest.mark.parametrize("objective", [flat, broken])
def test_no_rise_stops_after_patience_and_the_fall(objective):
    state = climb(objective)
    assert state.step == PATIENCE + COOL_DOWN
    assert state.num_evaluations == spent(PATIENCE + COOL_DOWN, (PATIENCE + COOL_DOWN) // WINDOW)


@pytest.mark.parametrize(("objective", "rises"), [(sinking, 0), (breaking, 2)])
def test_what_fell_or_broke_gives_way_to_the_best(objective, rises):
    """The start is the first of them."""
    state = climb(objective)
    assert state.step == rises * WINDOW + PATIENCE + COOL_DOWN
    np.testing.assert_allclose(state.params, rises * 0.05 * WINDOW, rtol=1e-4)


def test_a_steady_rise_goes_on_to_the_end():
    """Adam's steps are then of the learning rate itself, so their sum is known."""
    state = climb(steady)
    assert state.step == NUM_STEPS
    np.testing.assert_allclose(
        state.params, 0.05 * (NUM_STEPS - COOL_DOWN + (COOL_DOWN + 1) / 2), rtol=1e-3
    )


def test_the_end_lies_inside_a_window():
    state = climb(steady, num_steps=COOL_DOWN + 10)
    assert state.step == COOL_DOWN + 10
    assert state.num_evaluations == spent(COOL_DOWN + 10, -(-(COOL_DOWN + 10) // WINDOW))
    np.testing.assert_allclose(state.params, 0.05 * (10 + (COOL_DOWN + 1) / 2), rtol=1e-3)


def test_a_fit_no_longer_than_the_fall_is_not_checked():
    state = climb(flat, num_steps=10)
    assert state.step == 10
    assert state.num_evaluations == 40


def test_all_steps_are_taken_where_nothing_is_asked():
    assert climb(flat, least_rise=None).step == NUM_STEPS


def test_observations_stop_each_by_itself():
    """Side by side under vmap as alone: one flat, one steady, one that arrives."""

    def one(which):
        def objective(key, params, num):
            choices = [each(key, params, num) for each in (flat, steady, saturating)]
            return jnp.stack(choices)[which]

        return climb(objective)

    together = jax.jit(jax.vmap(one))(jnp.arange(3))
    assert together.step.tolist()[:2] == [PATIENCE + COOL_DOWN, NUM_STEPS]
    assert PATIENCE + COOL_DOWN < together.step[2] < NUM_STEPS
    alone = climb(saturating)
    assert together.step[2] == alone.step
    np.testing.assert_allclose(together.params[2], alone.params, rtol=1e-5)
    np.testing.assert_allclose(alone.params, 1, atol=0.02)


def test_rise_in_standard_errors():
    difference = jnp.array([1.0, 5.0])  # mean 3, standard error 2
    assert has_risen(difference, 1.4)
    assert not has_risen(difference, 1.6)
    assert not has_risen(jnp.array([0.0, 0.0]), 0.0)
    np.testing.assert_allclose(
        [half_cosine(jnp.array(left)) for left in (2.0, 1.0, 0.5, 0.0, -1.0)],
        [1, 1, 0.5, 0, 0],
        atol=1e-6,
    )
