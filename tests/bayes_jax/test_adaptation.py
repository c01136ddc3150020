"""The warm-up finds what a target's chains need, from wherever they start."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial
from numpyro.infer.hmc_util import dual_averaging

from bayes_jax import diagnose, sample_batch
from bayes_jax.hamiltonian import Point
from bayes_jax.mcmc import hmc
from bayes_jax.mcmc.adaptation import (
    SEARCH_SHRINKAGE,
    WINDOWS,
    Moments,
    _hold_back,
    add,
    factor_of,
    harmonic_mean,
    is_past_first_window,
    near_the_others,
    no_moments,
    schedule,
)
from bayes_jax.mcmc.climb import NUM_STEPS, climb
from bayes_jax.mcmc.targets import make_target


def test_step_stops_at_the_longest_path_and_comes_back_at_once():
    """A Gaussian accepts every step: the search is held, and forgets that it wanted further."""
    longest = np.float32(hmc.MAX_PATH / hmc.NUM_LEAPFROGS)
    target = make_target(Partial(quadratic, jnp.eye(2)))
    state = hmc.init(target, jnp.zeros((16, 2)), jnp.eye(2))
    after = jax.jit(lambda key: hmc.warm_up(key, target, state, num_warmup=200))(jax.random.key(14))
    np.testing.assert_allclose(after.tuning.step_size, longest, rtol=1e-4)
    init, update = dual_averaging(gamma=SEARCH_SHRINKAGE)
    averaging = init(jnp.log(longest))
    for _ in range(100):
        averaging = _hold_back(update(-0.5, averaging), jnp.log(longest))
    assert float(averaging[0]) == float(averaging[1]) == float(jnp.log(longest))
    averaging = _hold_back(update(0.5, averaging), jnp.log(longest))
    assert float(averaging[0]) < float(jnp.log(longest)) - 0.5


def test_one_stuck_chain_shortens_the_step():
    accept = jnp.full(16, 0.95)
    np.testing.assert_allclose(harmonic_mean(accept), 0.95, rtol=1e-6)
    np.testing.assert_allclose(harmonic_mean(jnp.array([0.2, 0.6])), 0.3, rtol=1e-6)
    assert float(harmonic_mean(accept.at[3].set(0.0))) < 1e-4


def test_only_trusted_chains_count_for_the_covariance():
    draws = jax.random.normal(jax.random.key(16), (8, 2))
    weights = jnp.array([1.0, 0, 1, 1, 0, 0, 1, 1])
    moments = add(no_moments(jnp.zeros(2)), draws, weights)
    kept = np.asarray(draws)[np.asarray(weights) == 1]
    assert float(moments.count) == len(kept)
    np.testing.assert_allclose(moments.total, kept.sum(axis=0), rtol=1e-5)
    np.testing.assert_allclose(moments.outer, kept.T @ kept, rtol=1e-5)


def running_moments(draws, origin) -> Moments:
    """Summed up in moves of 4 chains, as the warm-up does."""
    moments = no_moments(origin)
    for chains in draws.reshape(-1, 4, draws.shape[1]):
        moments = add(moments, chains, jnp.ones(len(chains)))
    return moments


@pytest.mark.parametrize("num_draws", [8, 400])
def test_factor_is_that_of_the_covariance_with_shrunk_correlations(num_draws):
    noise = jax.random.normal(jax.random.key(10), (num_draws, 3))
    mixing = jnp.array([[1.0, 0.0, 0.0], [0.9, 0.2, 0.0], [5.0, -3.0, 2.0]])
    draws = 1000 + noise @ mixing.T
    factor = np.asarray(factor_of(running_moments(draws, draws[0]), jnp.eye(3)), np.float64)
    covariance = np.cov(np.asarray(draws, np.float64), rowvar=False)
    expected = num_draws / (num_draws + 2 * 3) * covariance
    np.fill_diagonal(expected, np.diag(covariance))
    scale = np.sqrt(np.diag(covariance))
    np.testing.assert_allclose(
        factor @ factor.T / np.outer(scale, scale), expected / np.outer(scale, scale), atol=1e-3
    )


def test_factor_in_many_dimensions_keeps_the_variances_only():
    draws = jax.random.normal(jax.random.key(11), (40, 65)) * jnp.linspace(0.5, 5, 65)
    factor = np.asarray(factor_of(running_moments(draws, jnp.zeros(65)), jnp.eye(65)))
    assert np.count_nonzero(factor - np.diag(np.diag(factor))) == 0
    np.testing.assert_allclose(np.diag(factor), np.std(draws, axis=0, ddof=1), rtol=1e-3)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 0.0])
def test_chains_that_ran_away_or_never_moved_leave_the_factor(bad):
    draws = jax.random.normal(jax.random.key(12), (8, 3)).at[:, 1].mul(bad)
    found = factor_of(running_moments(draws, jnp.zeros(3)), 2 * jnp.eye(3))
    np.testing.assert_array_equal(found, 2 * np.eye(3))


@pytest.mark.parametrize("num_warmup", [1, 2, 7, 20, 150, 400, 1001])
def test_windows(num_warmup):
    """Their second halves count, one after another; the last window only tunes the step."""
    phases = schedule(num_warmup)
    counts, whitens, ends = map(np.asarray, (phases.counts, phases.whitens, phases.ends))
    assert len(counts) == len(whitens) == num_warmup
    assert np.flatnonzero(ends).tolist() == [num_warmup - 1]
    assert np.all(counts[whitens])
    assert not counts[int(np.ceil(num_warmup * (1 - WINDOWS[-1]))) :].any()
    if num_warmup < 20:
        return
    stops = np.flatnonzero(whitens) + 1
    bounds = np.concatenate([[0], np.cumsum(WINDOWS[:-1]) * num_warmup])
    np.testing.assert_allclose(stops, bounds[1:], atol=1)
    for start, stop in itertools.pairwise([0, *stops]):
        counted = np.flatnonzero(counts[start:stop])
        assert np.all(np.diff(counted) == 1)
        assert abs(len(counted) - (stop - start) / 2) <= 1
        assert counted[-1] == stop - start - 1


def test_no_warm_up_keeps_what_the_guide_knows():
    """The factor and the step stay where they start."""
    target = make_target(Partial(quadratic, jnp.eye(2)))
    state = hmc.init(target, jnp.zeros((3, 2)), 2 * jnp.eye(2))
    after = hmc.warm_up(jax.random.key(13), target, state, num_warmup=0)
    np.testing.assert_array_equal(after.tuning.factor, 2 * np.eye(2))
    np.testing.assert_array_equal(after.tuning.step_size, state.tuning.step_size)


@pytest.mark.slow
def test_a_gaussian_of_condition_1e8_from_far_out():
    """Standard deviations 1e-2 and 1e2 along turned axes, starts 1e4 narrow ones away."""
    turn = np.array([[np.cos(0.5), -np.sin(0.5)], [np.sin(0.5), np.cos(0.5)]])
    scale = np.array([1e-2, 1e2])
    precision = turn @ np.diag(scale**-2) @ turn.T
    with jax.enable_x64(True):
        init = jax.random.uniform(jax.random.key(17), (1, 16, 2), minval=-100.0, maxval=100.0)
        draws = sample_batch(
            jax.random.key(18),
            quadratic_of_datum,
            jnp.asarray(precision)[None],
            init,
            num_warmup=400,
            num_samples=300,
        )
        along = draws._replace(z=draws.z @ jnp.asarray(turn) / scale)
        squares = jax.tree.map(np.asarray, diagnose(along._replace(z=along.z**2)))
        found = jax.tree.map(np.asarray, diagnose(along))
        z = np.asarray(along.z[0])
    assert np.max(np.abs(z.mean(axis=(0, 1)) / found.mcse_mean[0])) < 5
    assert np.max(np.abs(((z**2).mean(axis=(0, 1)) - 1) / squares.mcse_mean[0])) < 5
    assert np.max(found.rhat) < 1.01
    assert np.min(found.ess_bulk) > 2000


def quadratic_of_datum(z, precision):
    return -0.5 * z @ precision @ z


def test_a_chain_left_on_a_shelf_climbs_and_one_on_another_hill_stays():
    """The steepest way up; the highest point is a mode, known in closed form."""
    target = make_target(Partial(quadratic, jnp.diag(jnp.array([1.0, 1e-4]))))
    start = target.start(jnp.array([0.3, 5.0]))
    end = climb(target, start, jnp.eye(2))
    np.testing.assert_allclose(end.position, 0, atol=0.05)
    hills = make_target(Partial(two_hills))
    for side in (-4.0, 4.0):
        end = climb(hills, hills.start(jnp.array([side + 1.5])), jnp.eye(1))
        np.testing.assert_allclose(end.position, side, atol=0.05)


def two_hills(z):
    return jnp.logaddexp(-0.5 * jnp.sum((z - 4) ** 2), -10 - 0.5 * jnp.sum((z + 4) ** 2))


def test_a_climb_that_leads_nowhere_is_not_made():
    target = make_target(Partial(quadratic, jnp.full((1, 1), jnp.nan)))
    here = Point(jnp.ones(1), (jnp.float32(-3.0), jnp.ones(1)))
    np.testing.assert_array_equal(climb(target, here, jnp.eye(1)).position, 1.0)


def test_chains_far_below_the_others_are_told_from_those_of_a_wide_density():
    near = near_the_others(
        jnp.array([-3.0, -2, -1, -500, jnp.nan, -jnp.inf, 0, -4]), jnp.ones(8), dim=2
    )
    assert near.tolist() == [True, True, True, False, False, False, True, True]
    assert near_the_others(jnp.array([-300.0, -20, 50, -500]), jnp.ones(4), dim=2).all()
    # The median is that of the trusted: two out of five, and three are far below.
    values, trusted = jnp.array([-1.0, -2, -500, -500, -500]), jnp.array([1.0, 1, 0, 0, 0])
    assert near_the_others(values, trusted, dim=2).tolist() == [True, True, False, False, False]


def test_far_below_chains_are_never_those_of_a_gaussian():
    """About one in 10,000 draws is left out of its covariance in one dimension, fewer in more."""
    for dim in (1, 2, 20, 60):
        z = jax.random.normal(jax.random.key(dim), (10_000, dim))
        near = near_the_others(-0.5 * jnp.sum(z**2, axis=1), jnp.ones(len(z)), dim=dim)
        assert int(jnp.sum(~near)) <= 6


def test_correlations_are_found_to_the_last_digit_window_by_window():
    """Independent draws: shrinking in z alone would leave 2 latent / draws of every variance."""
    with jax.enable_x64(True):
        truth = jnp.array([[1.0, 0.0], [1.0, 1e-4]])
        factor = jnp.eye(2)
        for window in range(4):
            noise = jax.random.normal(jax.random.key(window), (400, 2))
            factor = factor_of(running_moments(noise @ truth.T, jnp.zeros(2)), factor)
        left = np.linalg.solve(np.asarray(factor), np.asarray(truth))
    assert np.linalg.cond(left) < 1.3


def test_far_starts_search_alone_in_the_first_window_and_are_rescued_at_its_end():
    phases = schedule(100, far_starts=True)
    assert np.flatnonzero(phases.alone).tolist() == list(range(15))
    assert np.flatnonzero(phases.rescues).tolist() == [14]
    assert not np.any(schedule(100).alone | schedule(100).rescues)
    assert [is_past_first_window(num, 100) for num in (0, 14, 15, 130)] == [
        False,
        False,
        True,
        True,
    ]
    assert not is_past_first_window(4, 4)  # too short to have one
    grads = hmc.num_gradients(16, 100, has_climbed=True)
    assert grads == 16 * (1 + 100 * hmc.NUM_LEAPFROGS + NUM_STEPS)


def quadratic(precision, z):
    return -0.5 * z @ precision @ z
