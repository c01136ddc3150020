"""MMD against a double loop and two Gaussians in closed form; its p value against uniform."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.distance import pdist
from scipy.stats import kstest

from bayes_jax.errors import InputError
from vae_jax.quality.distances import ROWS_AT_ONCE
from vae_jax.quality.kernel_distance import kernel_distance
from vae_jax.quality.mmd import SCALES, gaussian_mixture, median_distance, mmd_test

KEY = jax.random.key(0)
DIM = 3


def sample(seed, num, *, loc=0.0, scale=1.0):
    return loc + scale * jax.random.normal(jax.random.key(seed), (num, DIM))


def by_double_loop(x, y, bandwidth) -> float:
    def similarity(a, b):
        square = float(np.sum((a - b) ** 2)) / bandwidth**2
        return np.mean([math.exp(-square / (2 * scale**2)) for scale in SCALES])

    def within(x):
        pairs = [(i, j) for i in range(len(x)) for j in range(len(x)) if i != j]
        return np.mean([similarity(x[i], x[j]) for i, j in pairs])

    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    return within(x) + within(y) - 2 * np.mean([similarity(a, b) for a in x for b in y])


def test_value_equals_a_double_loop():
    x, y = sample(1, ROWS_AT_ONCE + 4), sample(2, 20, loc=0.5)
    bandwidth = float(np.median(pdist(np.concatenate([x, y]))))
    np.testing.assert_allclose(median_distance(KEY, jnp.concatenate([x, y])), bandwidth, rtol=1e-4)
    found = mmd_test(KEY, x, y, num_permutations=1).mmd2
    np.testing.assert_allclose(found, by_double_loop(x, y, bandwidth), rtol=1e-3)


def expected_similarity(variance, shift, bandwidth) -> float:
    """E k(x, y) for x - y ~ N(shift, variance I)."""
    wide = (np.array(SCALES) * bandwidth) ** 2
    shrink = (wide / (wide + variance)) ** (DIM / 2)
    return np.mean(shrink * np.exp(-DIM * shift**2 / (2 * (wide + variance))))


@pytest.mark.parametrize(("shift", "scale"), [(0.0, 1.0), (0.5, 1.0), (0.0, 2.0)])
def test_two_gaussians_in_closed_form(shift, scale):
    bandwidth, num = 1.3, 1500
    expected = (
        expected_similarity(2.0, 0.0, bandwidth)
        + expected_similarity(2 * scale**2, 0.0, bandwidth)
        - 2 * expected_similarity(1 + scale**2, shift, bandwidth)
    )
    x, y = sample(3, num), sample(4, num, loc=shift, scale=scale)
    found = kernel_distance(x, y, kernel=gaussian_mixture(bandwidth))
    assert abs(found.value - expected) < 4 * found.stderr
    assert found.stderr < 0.1 * expected or shift == 0


def test_p_value_is_uniform_for_one_distribution():
    num = 300
    x, y = (sample(seed, 30 * num).reshape(num, 30, DIM) for seed in (5, 6))
    test = jax.jit(jax.vmap(partial(mmd_test, num_permutations=199)))
    found = test(jax.random.split(KEY, num), x, y[:, :20])
    assert kstest(np.asarray(found.p_value), "uniform").pvalue > 0.01
    values = np.asarray(found.mmd2, np.float64)
    assert abs(values.mean()) < 4 * values.std() / np.sqrt(num)


def test_p_value_is_least_for_a_shift():
    assert mmd_test(KEY, sample(1, 100), sample(2, 50, loc=1.0)).p_value == np.float32(1 / 501)


def test_equal_points_have_no_distance():
    x = jnp.ones((6, DIM)) / 3
    assert median_distance(KEY, x) == 1.0
    assert abs(mmd_test(KEY, x, x).mmd2) < 1e-6


def test_the_median_ignores_what_collapsed():
    x = jnp.concatenate([jnp.full((30, DIM), 0.1), jnp.array([[0.1, 0.1, 2.1]])])
    np.testing.assert_allclose(median_distance(KEY, x), 2.0, rtol=1e-5)


def test_refuses_no_permutation():
    with pytest.raises(InputError, match="num_permutations is 0"):
        mmd_test(KEY, sample(1, 5), sample(2, 5), num_permutations=0)
