"""q(z | x) from features, one x at a time."""

import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats
from numpyro.distributions.kl import kl_divergence

from vae_jax import posteriors
from vae_jax.priors import standard_normal


def test_mean_field_is_the_normal_of_its_features():
    features = jnp.array([0.5, -1.0, -2.0, 1.5])
    scale = np.log1p(np.exp([-2.0, 1.5])) + posteriors.MIN_SCALE
    z = np.array([0.3, 0.1])
    posterior = posteriors.mean_field(features)
    assert posterior.event_shape == (2,)
    expected = scipy.stats.norm.logpdf(z, [0.5, -1.0], scale).sum()
    np.testing.assert_allclose(posterior.log_prob(z), expected, rtol=1e-5)


def test_collapsed_scale_keeps_value_and_gradient_finite():
    def divergence(features):
        return kl_divergence(posteriors.mean_field(features), standard_normal(2))

    features = jnp.array([0.0, 1.0, -1e4, 1e4])
    value, gradient = jax.value_and_grad(divergence)(features)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()


def test_rows_of_a_batch_get_different_noise():
    keys = jax.random.split(jax.random.key(0), 3)
    features = jnp.zeros((3, 4))
    z = jax.vmap(lambda key, f: posteriors.mean_field(f).sample(key))(keys, features)
    assert len(np.unique(z)) == z.size


def test_prior_is_the_standard_normal():
    z = np.array([0.3, -1.0, 2.0])
    prior = standard_normal(3)
    assert (prior.batch_shape, prior.event_shape) == ((), (3,))
    np.testing.assert_allclose(prior.log_prob(z), scipy.stats.norm.logpdf(z).sum(), rtol=1e-6)
