"""Seconds of a call, with the time JAX spent compiling told apart."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax

_COMPILE_EVENTS = "/jax/core/compile/"


class Timed(NamedTuple):
    """A result and what it took.

    Attributes:
        result: what the call returned, ready.
        seconds: wall clock without tracing and compiling.
        compile_seconds: tracing, lowering and compiling.
    """

    result: Any
    seconds: float
    compile_seconds: float


def timed(function: Callable[[], Any]) -> Timed:
    """Call `function`, wait for its arrays, and split its time into compiling and running.

    JAX reports each compile phase with its duration when it ends; phases nest, so the time spent
    is the union of their intervals, not their sum.
    """
    intervals: list[tuple[float, float]] = []

    def listen(event: str, duration: float, **_) -> None:
        if event.startswith(_COMPILE_EVENTS):
            now = time.perf_counter()
            intervals.append((now - duration, now))

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        start = time.perf_counter()
        result = jax.block_until_ready(function())
        total = time.perf_counter() - start
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    compiling = union_length(intervals)
    return Timed(result, max(total - compiling, 0.0), compiling)


def union_length(intervals: list[tuple[float, float]]) -> float:
    """Total length of the union of intervals."""
    length, reached = 0.0, float("-inf")
    for start, end in sorted(intervals):
        length += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return length
