"""The classifier knows digits that it has not seen; classes that nobody draws are missed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from vae_jax.configs import DataConfig
from vae_jax.data.arrays import load
from vae_jax.quality.classifier import fit_classifier
from vae_jax.quality.coverage import class_shares, count_classes

KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def digits():
    return load(DataConfig("digits", "bernoulli"))


@pytest.fixture(scope="module")
def classifier(digits):
    x, labels = jnp.asarray(digits.train, float), jnp.asarray(digits.train_labels)
    return fit_classifier(KEY, x, labels, num_classes=10)


def accuracy(labels, digits) -> float:
    return np.mean(np.asarray(labels) == digits.test_labels)


def test_is_no_worse_than_logistic_regression(classifier, digits):
    found = accuracy(classifier.classify(jnp.asarray(digits.test, float)), digits)
    baseline = LogisticRegression(C=0.1, max_iter=500).fit(digits.train, digits.train_labels)
    assert found > 0.9
    assert found >= accuracy(baseline.predict(digits.test), digits)


def test_the_last_layer_reads_the_features(classifier, digits):
    x = jnp.asarray(digits.test[:20], float)
    log_probs = classifier.log_probs(x)
    np.testing.assert_allclose(jnp.exp(log_probs).sum(axis=1), 1.0, rtol=1e-5)
    head = classifier.params["params"]["head"]
    logits = classifier.features(x) @ head["kernel"] + head["bias"]
    np.testing.assert_allclose(log_probs, jax.nn.log_softmax(logits), rtol=1e-4, atol=1e-4)
    assert jnp.all(classifier.features(x) >= 0)


def test_another_key_trains_another(classifier, digits):
    x, labels = jnp.asarray(digits.train, float), jnp.asarray(digits.train_labels)
    same, other = (
        fit_classifier(key, x, labels, num_classes=10, num_steps=3)
        for key in (KEY, jax.random.key(1))
    )
    assert not np.array_equal(same.features(x[:5]), other.features(x[:5]))


def test_shares_equal_counts():
    classes = jnp.array([0, 0, 3, 1])
    np.testing.assert_array_equal(class_shares(classes, num_classes=5), [0.5, 0.25, 0, 0.25, 0])


@pytest.mark.parametrize(
    ("generated", "num"), [([0.25, 0.25, 0.5], 3), ([0.51, 0.49, 0.0], 2), ([0.9, 0.06, 0.04], 2)]
)
def test_a_class_counts_from_a_fifth_of_its_share(generated, num):
    assert count_classes(jnp.array(generated), jnp.array([0.5, 0.25, 0.25])) == num


def test_a_class_without_training_images_is_no_class():
    assert count_classes(jnp.array([0.5, 0.5]), jnp.array([1.0, 0.0])) == 1
