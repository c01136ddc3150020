"""The judge on real digits: real images pass, models that are bad in known ways do not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bayes_jax.errors import InputError
from bayes_jax.exact import linear_gaussian
from vae_jax.configs import DataConfig
from vae_jax.data.arrays import load
from vae_jax.quality import assess, classifier, make_judge, mmd

KEY = jax.random.key(1)
NUM = 500  # one number of images compiles once


@pytest.fixture(scope="module")
def digits():
    return load(DataConfig("digits", "bernoulli"))


@pytest.fixture(scope="module")
def judge(digits):
    return make_judge(KEY, digits.train, digits.test, train_labels=digits.train_labels)


@pytest.fixture(scope="module")
def halves(judge, digits):
    """One half of the test images judged by the other."""
    return assess(KEY, judge._replace(test=judge.test[::2]), digits.test[1::2])


@pytest.fixture(scope="module")
def ppca(judge, digits):
    """Bits from the means of probabilistic PCA."""
    model = linear_gaussian.fit(digits.train.astype(np.float32), latent_dim=10)
    return assess(KEY, judge, np.asarray(model.sample(KEY, NUM) > 0.5, np.uint8))


@pytest.fixture(scope="module")
def shuffled(judge, digits):
    """Every pixel from another image."""
    x = jax.random.permutation(KEY, digits.train[:NUM], axis=1, independent=True)
    return assess(KEY, judge, jax.random.permutation(KEY, x, axis=0, independent=True))


def test_real_images_pass(halves):
    assert halves.mmd_p > 0.05
    assert halves.two_sample_p > 0.05
    assert abs(halves.kernel_distance) < 3 * halves.kernel_distance_stderr
    assert min(halves.precision, halves.recall) > 0.85
    assert halves.close_share < 0.1
    assert halves.copying_p > 0.05
    assert halves.num_classes == 10


@pytest.mark.parametrize("name", ["ppca", "shuffled"])
def test_bad_models_fail(name, halves, request):
    found = request.getfixturevalue(name)
    assert found.mmd_p < 0.01
    assert found.two_sample_p < 0.01
    assert found.two_sample_accuracy > halves.two_sample_accuracy + 0.1
    assert found.mmd2 > halves.mmd2
    assert found.kernel_distance > 2 * found.kernel_distance_stderr
    assert found.precision < halves.precision
    assert found.copying_p > 0.05


def test_the_worse_model_is_worse(ppca, shuffled):
    assert shuffled.mmd2 > 10 * ppca.mmd2
    assert shuffled.kernel_distance > 10 * ppca.kernel_distance
    assert shuffled.precision < ppca.precision
    assert shuffled.two_sample_accuracy > ppca.two_sample_accuracy


def test_training_images_are_good_but_copied(judge, digits):
    """Of all of them: the first were written by other people than the last."""
    found = assess(KEY, judge, jax.random.permutation(KEY, digits.train)[:NUM])
    assert min(found.mmd_p, found.two_sample_p) > 0.05
    assert found.close_share > 0.99
    assert found.copying_p < 1e-6


def test_one_digit_is_one_class_without_recall(judge, digits, halves):
    found = assess(KEY, judge, np.resize(digits.train[digits.train_labels == 3], (NUM, 64)))
    assert found.num_classes == 1
    assert found.precision > 0.85
    assert found.recall < 0.3


def test_without_labels_features_are_pixels(judge, digits, halves):
    plain = make_judge(KEY, digits.train, digits.test)
    found = assess(KEY, plain._replace(test=plain.test[::2]), digits.test[1::2])
    assert (found.features, found.num_classes) == ("pixels", None)
    assert (halves.features, halves.num_classes) == ("classifier", 10)
    assert found.mmd2 == halves.mmd2
    assert found.kernel_distance != halves.kernel_distance


@pytest.mark.parametrize("labelled", [True, False])
def test_features_of_training_images_have_mean_0_and_variance_1(judge, digits, labelled):
    judge = judge if labelled else make_judge(KEY, digits.train, digits.test)
    features = judge.features(judge.train)
    np.testing.assert_allclose(features.mean(axis=0), 0.0, atol=1e-4)
    np.testing.assert_allclose(features.var(axis=0).mean(), 1.0, rtol=1e-4)


def test_bits_and_floats_are_judged_alike(judge, digits):
    x = digits.train[:NUM]
    assert assess(KEY, judge, x) == assess(KEY, judge, jnp.asarray(x, jnp.float32))


def test_models_share_what_is_compiled(judge, digits):
    assess(KEY, judge, digits.train[:NUM])
    before = classifier._fit._cache_size(), mmd._mmd_test._cache_size()
    assess(jax.random.key(5), judge, digits.train[NUM : 2 * NUM])
    assert (classifier._fit._cache_size(), mmd._mmd_test._cache_size()) == before


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x: x[:, :63], r"generated images of shape \(20, 63\): expected \(num, 64\)"),
        (lambda x: x[0], r"generated images of shape \(64,\): expected \(num, 64\)"),
        (lambda x: x[:3], "3 generated images: expected at least 4"),
        (lambda x: np.where(np.arange(20)[:, None] == 7, np.nan, x), r"generated\[7\] holds NaN"),
    ],
)
def test_refuses_images_it_cannot_judge(judge, digits, change, words):
    with pytest.raises(InputError, match=words):
        assess(KEY, judge, change(digits.test[:20]))


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (np.arange(5), r"train_labels of shape \(5,\) from 0: expected \(20,\) from 0"),
        (np.full(20, -1), "from -1"),
        (np.zeros((20, 1), int), r"\(20, 1\)"),
    ],
)
def test_refuses_labels_it_cannot_learn(digits, labels, words):
    with pytest.raises(InputError, match=words):
        make_judge(KEY, digits.train[:20], digits.test, train_labels=labels)


def test_refuses_real_images_that_do_not_pair_up(digits):
    with pytest.raises(InputError, match=r"train images of shape \(64,\): expected \(num, dim\)"):
        make_judge(KEY, digits.train[0], digits.test)
    with pytest.raises(InputError, match=r"test images of shape \(359, 63\): expected \(num, 64\)"):
        make_judge(KEY, digits.train, digits.test[:, 1:])
