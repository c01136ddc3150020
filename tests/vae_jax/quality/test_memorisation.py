"""Copies of training images are found, fresh ones are not."""

import jax
import numpy as np
from scipy.spatial.distance import cdist
from scipy.stats import kstest, mannwhitneyu

from vae_jax.quality.memorisation import QUANTILE, memorisation


def sample(seed, num):
    return jax.random.normal(jax.random.key(seed), (num, 5))


TRAIN, TEST = sample(0, 300), sample(1, 100)


def test_equals_brute_force():
    generated = 0.8 * sample(2, 200)
    found, fresh = (cdist(x, TRAIN).min(axis=1) for x in (generated, TEST))
    closest = np.sort(fresh)[int(QUANTILE * (len(fresh) - 1))]
    result = memorisation(generated, TRAIN, TEST)
    np.testing.assert_allclose(result.close_share, np.mean(found < closest), rtol=1e-6)
    expected = mannwhitneyu(found, fresh, alternative="less").pvalue
    np.testing.assert_allclose(result.p_value, expected, rtol=1e-3)


def test_finds_copies():
    found = memorisation(TRAIN[:50], TRAIN, TEST)
    assert found.close_share == 1
    assert found.p_value < 1e-6


def test_finds_copies_among_fresh_images():
    half = np.concatenate([TRAIN[:50], sample(3, 50)])
    found = memorisation(jax.numpy.asarray(half), TRAIN, TEST)
    assert 0.5 <= found.close_share < 0.6
    assert found.p_value < 1e-3


def test_bits_are_fresh_or_copied():
    """Distances of bits are tied; copies are nearer than the least of them."""
    bits = (jax.random.normal(jax.random.key(4), (500, 30)) > 0).astype(float)
    train, test, fresh = bits[:300], bits[300:400], bits[400:]
    assert memorisation(train[:100], train, test).close_share == 1
    assert memorisation(fresh, train, test).close_share < 0.15


def test_p_value_is_uniform_for_fresh_images():
    p_values = [
        memorisation(sample(10 + 2 * i, 100), TRAIN, sample(11 + 2 * i, 100)).p_value
        for i in range(100)
    ]
    assert kstest(p_values, "uniform").pvalue > 0.01
