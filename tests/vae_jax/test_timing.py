"""Compiling is told apart from running, and overlapping phases count once."""

import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vae_jax.timing import timed, union_length


@pytest.mark.parametrize(
    ("intervals", "length"),
    [
        ([], 0),
        ([(2.0, 5.0)], 3),
        ([(0.0, 1.0), (3.0, 4.0)], 2),
        ([(0.0, 4.0), (1.0, 2.0), (3.0, 6.0)], 6),
        ([(3.0, 6.0), (0.0, 4.0), (0.0, 4.0)], 6),
        ([(0.0, 1.0), (1.0, 2.0)], 2),
        ([(5.0, 5.0)], 0),
    ],
)
def test_union_by_hand(intervals, length):
    assert union_length(intervals) == length


def test_union_by_brute_force():
    """Against counting the unit cells that any of many random intervals covers."""
    random = np.random.default_rng(0)
    for _ in range(100):
        starts = random.integers(0, 50, size=12).tolist()
        intervals = [(start, start + int(random.integers(0, 10))) for start in starts]
        cells = {cell for interval in intervals for cell in range(*interval)}
        assert union_length([(float(start), float(end)) for start, end in intervals]) == len(cells)


def test_second_call_compiles_nothing():
    @jax.jit
    def function(x):
        return jnp.sin(x) @ x

    x = jnp.ones((30, 30))
    first, second = timed(lambda: function(x)), timed(lambda: function(x))
    assert first.compile_seconds > 0.001
    assert second.compile_seconds == 0
    assert second.seconds < first.compile_seconds
    np.testing.assert_array_equal(first.result, second.result)


def test_seconds_and_compile_seconds_make_up_the_wall_clock():
    start = time.perf_counter()
    taken = timed(lambda: (time.sleep(0.1), jax.jit(lambda x: jnp.cumsum(x) * 3)(jnp.ones(7)))[1])
    wall = time.perf_counter() - start
    assert taken.compile_seconds > 0.001
    assert taken.seconds >= 0.1
    assert taken.seconds + taken.compile_seconds <= wall
    assert taken.seconds + taken.compile_seconds > 0.5 * wall


def test_nested_phases_count_once_and_other_events_not_at_all():
    """Reported as JAX reports them: the duration, at the end."""

    def report():
        time.sleep(0.1)
        for event in ("/jax/core/compile/inner", "/jax/core/compile/outer", "/jax/elsewhere"):
            jax.monitoring.record_event_duration_secs(event, 0.1)
        time.sleep(0.1)
        jax.monitoring.record_event_duration_secs("/jax/elsewhere", 0.1)

    start = time.perf_counter()
    taken = timed(report)
    wall = time.perf_counter() - start
    assert 0.1 <= taken.compile_seconds < 0.17
    assert 0.1 <= taken.seconds <= wall - 0.1


def test_work_still_running_is_waited_for():
    """The dispatch of an array is not its result."""

    def slow(x):
        return jax.lax.fori_loop(0, 200, lambda _, x: jnp.tanh(x @ x), x)

    slow = jax.jit(slow)
    x = jnp.eye(300)
    slow(x).block_until_ready()
    start = time.perf_counter()
    slow(x).block_until_ready()
    waited = time.perf_counter() - start
    assert timed(lambda: slow(x)).seconds > 0.3 * waited


def test_listener_is_taken_back_also_after_an_error():
    from jax._src import monitoring

    before = len(monitoring.get_event_duration_listeners())
    timed(lambda: None)
    with pytest.raises(ZeroDivisionError):
        timed(lambda: 1 / 0)
    assert len(monitoring.get_event_duration_listeners()) == before
