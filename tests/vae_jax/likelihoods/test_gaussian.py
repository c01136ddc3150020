"""Normal pixels are SciPy's, start at the data's moments and keep their floors."""

import jax.numpy as jnp
import numpy as np
import scipy.stats

from vae_jax.configs import ObservationSpec
from vae_jax.likelihoods import make_head

GAUSSIAN = make_head(ObservationSpec(4, "gaussian", min_variance=0.04))
SHARED = make_head(ObservationSpec(4, "gaussian_shared", min_variance=0.04))
FIXED = make_head(ObservationSpec(4, "gaussian_fixed", fixed_scale=0.7))
LOC, X = np.array([0.1, -2, 3, 0.5]), np.array([0.3, -1.0, 2.5, 0.0])


def test_log_prob_is_scipys_with_a_scale_for_each_pixel():
    unconstrained = np.array([-1.0, 0, 1, 2])
    scale = 0.2 + np.log1p(np.exp(unconstrained))
    features = jnp.asarray(np.stack([LOC, unconstrained], axis=-1).reshape(-1), jnp.float32)
    value = GAUSSIAN.distribution(features, {}).log_prob(X)
    np.testing.assert_allclose(value, scipy.stats.norm.logpdf(X, LOC, scale).sum(), rtol=1e-5)


def test_log_prob_is_scipys_with_one_scale_learned_or_fixed():
    loc = jnp.asarray(LOC, jnp.float32)
    value = SHARED.distribution(loc, jnp.float32(0.4)).log_prob(X)
    scale = 0.2 + np.log1p(np.exp(0.4))
    np.testing.assert_allclose(value, scipy.stats.norm.logpdf(X, LOC, scale).sum(), rtol=1e-5)
    value = FIXED.distribution(loc, {}).log_prob(X)
    np.testing.assert_allclose(value, scipy.stats.norm.logpdf(X, LOC, 0.7).sum(), rtol=1e-5)


def test_variance_keeps_its_floor():
    features = jnp.array([0.0, -1e4, 0.0, -20.0, 0.0, -5.0, 0.0, 0.0])
    variance = GAUSSIAN.distribution(features, {}).variance
    assert (variance >= 0.04 * (1 - 1e-6)).all()
    np.testing.assert_allclose(variance[0], 0.04, rtol=1e-6)
    np.testing.assert_allclose(
        SHARED.distribution(jnp.zeros(4), jnp.float32(-1e4)).variance, 0.04, rtol=1e-6
    )


def test_initial_features_give_means_and_spread():
    x = np.random.default_rng(0).normal([0, 1, 2, 3], [0, 0.3, 1, 2], (50, 4)).astype(np.float32)
    initial = GAUSSIAN.distribution(GAUSSIAN.initial_features(x), GAUSSIAN.initial_params(x))
    np.testing.assert_allclose(initial.mean, x.mean(0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(initial.variance[1:], x.var(0)[1:], rtol=1e-4)
    # A constant pixel starts just above the floor.
    np.testing.assert_allclose(initial.variance[0], 0.04 * 1.1**2, rtol=1e-4)
    initial = SHARED.distribution(SHARED.initial_features(x), SHARED.initial_params(x))
    np.testing.assert_allclose(initial.variance, x.var(0).mean(), rtol=1e-4)
