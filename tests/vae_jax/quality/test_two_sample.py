"""The classifier two-sample test is calibrated for one distribution and certain of two."""

import jax
import numpy as np
import pytest
from scipy.stats import binomtest, kstest

from bayes_jax.errors import InputError
from vae_jax.quality.two_sample import CHANCE, two_sample_test

KEY = jax.random.key(0)


def sample(seed, num, *, loc=0.0):
    return loc + jax.random.normal(jax.random.key(seed), (num, 5))


@pytest.fixture(scope="module")
def chance():
    """Repeats on one distribution, of samples of unequal size."""
    return [
        two_sample_test(key, sample(2 * i, 80), sample(2 * i + 1, 120), num_steps=50)
        for i, key in enumerate(jax.random.split(KEY, 80))
    ]


def test_accuracy_is_that_of_chance_for_one_distribution(chance):
    accuracies = np.array([found.accuracy for found in chance])
    assert abs(accuracies.mean() - CHANCE) < 4 * accuracies.std() / np.sqrt(len(accuracies))


def test_p_value_is_never_too_small(chance):
    """The distribution function of p stays below the uniform one."""
    assert (
        kstest([found.p_value for found in chance], "uniform", alternative="greater").pvalue > 0.01
    )


def test_p_value_is_that_of_the_binomial(chance):
    for found in chance[:5]:
        test = binomtest(round(found.accuracy * 80), 80, alternative="greater")
        np.testing.assert_allclose(found.p_value, test.pvalue, rtol=1e-9)


def test_samples_far_apart_are_told_apart():
    found = two_sample_test(KEY, sample(0, 80), sample(1, 300, loc=3.0))
    assert found.accuracy > 0.97
    assert found.p_value < 1e-9


def test_a_network_sees_more_than_means():
    """A ring around a cluster."""
    ring = sample(2, 400)
    ring = 4 * ring / np.linalg.norm(ring, axis=1, keepdims=True)
    assert two_sample_test(KEY, sample(1, 400), ring).accuracy > 0.9


def test_refuses_samples_without_halves():
    with pytest.raises(InputError, match="samples of 1 and 9"):
        two_sample_test(KEY, sample(0, 1), sample(1, 9))
