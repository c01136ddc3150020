"""Heads of whole levels against the same probabilities in double precision."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import expit, log_softmax, logsumexp

from vae_jax.likelihoods import levels


def exact_log_prob(loc, scale, num_levels):
    """Of every level: differences of the logistic's distribution function, good to -25 nats."""
    borders = np.arange(1, num_levels) / num_levels
    below = np.concatenate([[0.0], expit((borders - loc) / scale), [1.0]])
    above = np.concatenate([[1.0], expit((loc - borders) / scale), [0.0]])
    # From the side on which it is small.
    return np.log(np.maximum(np.diff(below), -np.diff(above)))


@pytest.mark.parametrize(("loc", "scale"), [(0.5, 0.1), (0.02, 0.01), (1.3, 0.05), (0.4, 3.0)])
@pytest.mark.parametrize("num_levels", [2, 17, 256])
def test_discretized_logistic_is_the_difference_of_its_borders(loc, scale, num_levels):
    distribution = levels.DiscretizedLogistic(jnp.float32(loc), jnp.float32(scale), num_levels)
    value = distribution.log_prob(jnp.arange(num_levels, dtype=jnp.float32))
    expected = exact_log_prob(loc, scale, num_levels)
    known = expected > -25
    assert known.any()
    np.testing.assert_allclose(value[known], expected[known], rtol=1e-4, atol=1e-4)


def test_a_level_far_from_a_sharp_logistic_keeps_its_slope():
    """Where a difference of sigmoids would be zero, and its logarithm a clipped constant."""
    distribution = levels.DiscretizedLogistic(jnp.float32(0.1), jnp.float32(1e-3), 256)
    value = float(distribution.log_prob(jnp.float32(230)))
    np.testing.assert_allclose(value, -(230 / 256 - 0.1) / 1e-3, rtol=0.01)


def test_a_mixture_weighs_its_components():
    rng = np.random.default_rng(1)
    logits, loc, unconstrained = rng.normal(size=(3, 2, 3)) * 0.5 + [[[0]], [[0.5]], [[-2]]]
    scale = levels.MIN_LEVEL_SCALE + np.log1p(np.exp(unconstrained))
    features = jnp.asarray(np.stack([logits, loc, unconstrained], axis=1).reshape(-1), jnp.float32)
    x = np.array([3, 11])
    value = levels.logistic_mixture(features, num_levels=17, num_components=3).log_prob(x)
    expected = sum(
        logsumexp(
            log_softmax(logits[pixel])
            + [exact_log_prob(loc[pixel, k], scale[pixel, k], 17)[x[pixel]] for k in range(3)]
        )
        for pixel in range(2)
    )
    np.testing.assert_allclose(value, expected, rtol=1e-4)


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.float32])
def test_all_levels_are_levels_whatever_their_type(dtype):
    support = levels.WholeLevels(256)
    assert np.all(support(jnp.arange(256, dtype=dtype)))
    assert not np.any(support(jnp.array([-1.0, 0.5, 256.0])))
    assert not np.any(levels.WholeLevels(17)(jnp.arange(17, 256, dtype=dtype)))


def test_categorical_takes_levels_as_floats_and_starts_at_their_frequencies():
    x = np.array([[0, 2], [0, 1], [1, 1], [0, 1]])
    head = levels.categorical(levels.categorical_features(x, num_levels=3), num_levels=3)
    frequencies = np.array([[4, 2, 1], [1, 4, 2]]) / 7
    np.testing.assert_allclose(head.base_dist.probs, frequencies, rtol=1e-5)
    expected = np.log(frequencies[0, 1] * frequencies[1, 2])
    for dtype in (np.uint8, np.float32):
        np.testing.assert_allclose(head.log_prob(np.array([1, 2], dtype)), expected, rtol=1e-5)
