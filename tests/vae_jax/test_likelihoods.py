"""Heads are the densities they claim to be, start at the data's means and keep their floors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from vae_jax import likelihoods
from vae_jax.configs import ObservationSpec

BERNOULLI = ObservationSpec(4, "bernoulli")
GAUSSIAN = ObservationSpec(4, "gaussian", min_variance=0.04)


def test_bernoulli_log_prob_is_scipys():
    logits, x = np.array([-3.0, 0.0, 0.5, 4.0]), np.array([0, 1, 1, 0])
    expected = scipy.stats.bernoulli.logpmf(x, scipy.special.expit(logits)).sum()
    head = likelihoods.make_head(BERNOULLI)
    for dtype in (np.uint8, np.float32):
        value = head.distribution(jnp.asarray(logits, jnp.float32)).log_prob(x.astype(dtype))
        np.testing.assert_allclose(value, expected, rtol=1e-6)


@pytest.mark.parametrize("logit", [90.0, -90.0, 1e4])
def test_bernoulli_is_finite_at_extreme_logits(logit):
    def log_prob(logits):
        return likelihoods.bernoulli(logits).log_prob(jnp.zeros(4))

    value, gradient = jax.value_and_grad(log_prob)(jnp.full(4, logit))
    np.testing.assert_allclose(value, -4 * max(logit, 0), atol=1e-6)
    np.testing.assert_allclose(gradient, -float(logit > 0), atol=1e-6)


def test_gaussian_log_prob_is_scipys_with_a_scale_for_each_pixel():
    loc, unconstrained = np.array([0.1, -2, 3, 0.5]), np.array([-1.0, 0, 1, 2])
    scale = 0.2 + np.log1p(np.exp(unconstrained))
    x = np.array([0.3, -1.0, 2.5, 0.0])
    features = jnp.asarray(np.concatenate([loc, unconstrained]), jnp.float32)
    value = likelihoods.make_head(GAUSSIAN).distribution(features).log_prob(x)
    np.testing.assert_allclose(value, scipy.stats.norm.logpdf(x, loc, scale).sum(), rtol=1e-5)


def test_gaussian_variance_keeps_its_floor():
    features = jnp.concatenate([jnp.zeros(4), jnp.array([-1e4, -20.0, -5.0, 0.0])])
    variance = likelihoods.make_head(GAUSSIAN).distribution(features).variance
    assert (variance >= 0.04 * (1 - 1e-6)).all()
    np.testing.assert_allclose(variance[0], 0.04, rtol=1e-6)


def test_shared_scale_is_the_same_for_all_pixels():
    shared = likelihoods.normal(jnp.arange(4.0), jnp.float32(0.3), min_scale=0.1)
    one_each = likelihoods.normal(jnp.arange(4.0), jnp.full(4, 0.3), min_scale=0.1)
    assert shared.event_shape == (4,)
    assert shared.log_prob(jnp.ones(4)) == one_each.log_prob(jnp.ones(4))


def test_initial_bernoulli_features_give_the_clipped_means():
    x = np.array([[0, 1, 1, 0], [0, 1, 0, 0], [0, 1, 0, 1], [0, 1, 0, 0]], np.uint8)
    head = likelihoods.make_head(BERNOULLI)
    mean = head.distribution(head.initial_features(x)).mean
    np.testing.assert_allclose(mean, [1e-3, 1 - 1e-3, 0.25, 0.25], rtol=1e-4)


def test_initial_gaussian_features_give_means_and_spread():
    x = np.random.default_rng(0).normal([0, 1, 2, 3], [0, 0.3, 1, 2], (50, 4)).astype(np.float32)
    head = likelihoods.make_head(GAUSSIAN)
    initial = head.distribution(head.initial_features(x))
    np.testing.assert_allclose(initial.mean, x.mean(0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(initial.variance[1:], x.var(0)[1:], rtol=1e-4)
    # A constant pixel starts just above the floor.
    np.testing.assert_allclose(initial.variance[0], 0.04 * 1.1**2, rtol=1e-4)


def test_equal_specs_share_one_head():
    assert likelihoods.make_head(ObservationSpec(4, "gaussian", 0.04)) is likelihoods.make_head(
        GAUSSIAN
    )
