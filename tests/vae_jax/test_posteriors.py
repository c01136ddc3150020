"""q(z | x) from features, one x at a time: laws of every family, and the Gaussians' numbers."""

import typing

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from numpyro.distributions.kl import kl_divergence

from bayes_jax import InputError
from bayes_jax.noise import mean_of
from vae_jax import configs, posteriors
from vae_jax.configs import PosteriorConfig
from vae_jax.objectives.terms import draw
from vae_jax.priors import standard_normal

from .conftest import few, moved_by_others, shaken

NAMES = sorted(posteriors.POSTERIORS)


def some(name, latent_dim=2, spread=0.7):
    """A member of a family, far from where training starts."""
    config = PosteriorConfig(name, **few(name))
    posterior = posteriors.make_posterior(config, latent_dim)
    params = posterior.initial_params(jax.random.key(0))
    leaves, treedef = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(1), len(leaves) + 1)
    noisy = [
        leaf + spread * jax.random.normal(key, leaf.shape)
        for leaf, key in zip(leaves, keys[1:], strict=True)
    ]
    features = spread * jax.random.normal(keys[0], (posterior.num_features,))
    return posterior.distribution(features, jax.tree.unflatten(treedef, noisy))


def test_the_table_and_the_configs_name_the_same_families():
    assert set(NAMES) == set(typing.get_args(configs.PosteriorName))


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_density_integrates_to_one(name):
    axis = jnp.linspace(-14.0, 14.0, 1401)
    points = jnp.stack(jnp.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    density = np.exp(np.asarray(some(name).log_prob(points), np.float64))
    np.testing.assert_allclose(density.sum() * float(axis[1] - axis[0]) ** 2, 1, atol=5e-3)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("latent_dim", [1, 2, 5])
def test_draws_know_their_density(name, latent_dim):
    """By the way they came, as an objective wants it, and by the way back, as an engine does."""
    q = some(name, latent_dim)
    assert (q.batch_shape, q.event_shape) == ((), (latent_dim,))
    z, log_q = draw(jax.random.key(2), q, 20)
    assert z.shape == (20, latent_dim)
    np.testing.assert_allclose(log_q, q.log_prob(z), rtol=1e-3, atol=1e-3)
    assert len(np.unique(z)) == z.size


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_draws_are_the_densitys(name):
    """E[z] and E[z^2] by a grid over the density."""
    q = some(name)
    axis = jnp.linspace(-14.0, 14.0, 1401)
    points = jnp.stack(jnp.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    mass = np.exp(np.asarray(q.log_prob(points), np.float64))
    mass /= mass.sum()
    z = np.asarray(q.sample(jax.random.key(3), (50_000,)), np.float64)
    for power in (1, 2):
        expected = mass @ np.asarray(points, np.float64) ** power
        stderr = (z**power).std(axis=0) / np.sqrt(len(z))
        np.testing.assert_array_less(abs((z**power).mean(axis=0) - expected), 4.5 * stderr)
    assert np.all(abs(np.asarray(mean_of(q)) - mass @ np.asarray(points)) < 5 * z.std(axis=0) / 16)


@pytest.mark.parametrize("name", NAMES)
def test_every_feature_shapes_the_posterior(name):
    """A flow whose features moved its base alone would be one bend for all x."""
    config = PosteriorConfig(name, **few(name))
    posterior = posteriors.make_posterior(config, 3)
    params = shaken(posterior.initial_params(jax.random.key(0)))
    points = jax.random.normal(jax.random.key(1), (20, 3))
    features = 0.5 * jax.random.normal(jax.random.key(2), (posterior.num_features,))
    slopes = jax.jacfwd(lambda f: posterior.distribution(f, params).log_prob(points))(features)
    # A hidden unit of a ReLU may sleep at some points, not at all.
    assert np.all(np.abs(slopes).max(axis=0) > 1e-6)


@pytest.mark.parametrize("name", ["coupling", "iaf"])
def test_layers_take_turns_so_that_every_coordinate_is_moved_by_others(name):
    posterior = posteriors.make_posterior(PosteriorConfig(name, num_layers=2, hidden_dim=16), 3)
    params = shaken(posterior.initial_params(jax.random.key(0)))
    flow = posterior.distribution(jnp.zeros(posterior.num_features), params)
    assert np.all(moved_by_others(flow, jnp.array([-1.0, -0.4, 0.2])) > 1e-3)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "planar"])
def test_a_fresh_family_is_the_normal_of_its_first_features(name):
    config = PosteriorConfig(name, **few(name))
    posterior = posteriors.make_posterior(config, 2)
    features = jnp.zeros(posterior.num_features).at[:4].set(jnp.array([0.5, -1.0, -2.0, 1.5]))
    q = posterior.distribution(features, posterior.initial_params(jax.random.key(0)))
    z = jnp.array([0.3, 0.1])
    np.testing.assert_allclose(
        q.log_prob(z), posteriors.mean_field(features[:4]).log_prob(z), rtol=1e-5
    )


def test_mean_field_is_the_normal_of_its_features():
    features = jnp.array([0.5, -1.0, -2.0, 1.5])
    scale = np.log1p(np.exp([-2.0, 1.5])) + posteriors.MIN_SCALE
    z = np.array([0.3, 0.1])
    expected = scipy.stats.norm.logpdf(z, [0.5, -1.0], scale).sum()
    np.testing.assert_allclose(posteriors.mean_field(features).log_prob(z), expected, rtol=1e-5)


def test_full_rank_is_the_multivariate_normal_of_its_features():
    features = jnp.array([0.5, -1.0, 0.2, -2.0, 1.5, 0.3, 0.7, -0.4, 1.1])
    scale = np.log1p(np.exp([-2.0, 1.5, 0.3])) + posteriors.MIN_SCALE
    factor = scale[:, None] * np.array([[1, 0, 0], [0.7, 1, 0], [-0.4, 1.1, 1]])
    z = np.array([0.3, 0.1, 0.9])
    expected = scipy.stats.multivariate_normal.logpdf(z, [0.5, -1.0, 0.2], factor @ factor.T)
    found = posteriors.full_rank(features, latent_dim=3).log_prob(z)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


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


def test_too_few_hidden_units_for_an_autoregressive_order_are_refused():
    config = PosteriorConfig("iaf", hidden_dim=3)
    posterior = posteriors.make_posterior(config, 6)
    params = posterior.initial_params(jax.random.key(0))
    with pytest.raises(InputError, match="hidden_dim is 3"):
        posterior.distribution(jnp.zeros(posterior.num_features), params).sample(jax.random.key(0))
