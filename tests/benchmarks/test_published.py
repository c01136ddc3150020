"""AIS as published is right: its weights are unbiased both ways, and its sides stand right."""

import importlib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bayes_jax import simulate
from bayes_jax.exact.reference import linear_gaussian

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def published(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("published")


def deviation(weights) -> np.ndarray:
    """mean w - 1 over the last axis, in standard errors."""
    error = weights.std(axis=-1, ddof=1) / np.sqrt(weights.shape[-1])
    assert np.all(error < 0.1)
    return (weights.mean(axis=-1) - 1) / error


def test_mean_weights_there_are_the_evidence(published):
    reference = linear_gaussian()
    z, x = simulate(jax.random.key(7), reference.model, 4)
    there, _ = published.published_walks(
        jax.random.key(0), reference.model, z, x, num_temperatures=10, num_chains=2000
    )
    exact = np.asarray(reference.log_evidence(x), np.float64)
    weights = np.exp(np.asarray(there.log_weight, np.float64) - exact[:, None])
    assert weights.shape == (4, 2000)
    assert np.all(np.abs(deviation(weights)) < 4)
    # The step is tuned by other chains, and counted: 16 knots of 4 moves for 4 of them.
    assert int(there.num_grads[0]) == 2000 * (1 + 9 * 10) + 4 * (1 + 64 * 10)


def test_mean_weights_back_are_one_over_the_evidence(published):
    """Over exact draws from one posterior, a few chains from each."""
    reference = linear_gaussian()
    _, x = simulate(jax.random.key(7), reference.model, 1)
    z = reference.draw_posterior(jax.random.key(1), x, 500)[0]
    _, back = published.published_walks(
        jax.random.key(0),
        reference.model,
        z,
        jnp.repeat(x, 500, axis=0),
        num_temperatures=10,
        num_chains=4,
    )
    exact = float(reference.log_evidence(x)[0])
    # Chains that share their z are one observation.
    weights = np.exp(np.asarray(back, np.float64) + exact).mean(axis=1)
    assert abs(deviation(weights)) < 4


@pytest.mark.slow
def test_the_sides_stand_above_and_below_and_come_together(published):
    reference = linear_gaussian()
    z, x = simulate(jax.random.key(3), reference.model, 1000)
    exact = np.asarray(reference.log_evidence(x), np.float64)

    def gaps(num_temperatures):
        sides, _ = published.published_sandwich(
            jax.random.key(0),
            reference.model,
            z,
            x,
            num_temperatures=num_temperatures,
            num_chains=2,
        )
        below, above = (np.asarray(side, np.float64) for side in (sides.lower, sides.upper))
        return exact - below, above - exact

    for short, long in zip(gaps(10), gaps(100), strict=True):
        # So few temperatures and chains leave a gap on either side.
        assert short.mean() > 4 * short.std(ddof=1) / np.sqrt(len(short))
        assert abs(long.mean()) < 0.5 * short.mean()
