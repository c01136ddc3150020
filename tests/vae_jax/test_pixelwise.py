"""Pixels one after the other: total probability, order, and draws that have their density."""

import itertools
import typing

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vae_jax import configs
from vae_jax.configs import AutoregressiveConfig, ObservationSpec
from vae_jax.pixelwise import Pixelwise
from vae_jax.systems.autoregressive import causal_family

NETWORKS = typing.get_args(configs.CausalName)
SHAPE, DIM = (3, 4), 12


def some(network, head="bernoulli", *, num_levels=256, shape=SHAPE, context=0, spread=0.5):
    """A density with weights far from where training starts."""
    spec = ObservationSpec(
        shape[0] * shape[1], head, num_levels=num_levels, num_components=2, image_shape=shape
    )
    config = AutoregressiveConfig(network, (30, 40), channels=8, num_layers=3, num_heads=2)
    body, init = causal_family(config, spec)
    batch = np.random.default_rng(0).integers(0, 2, (20, spec.dim)).astype(np.float32)
    params = init(jax.random.key(0), batch, jnp.zeros(context))
    leaves, treedef = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    noisy = [
        leaf + spread * jax.random.normal(key, leaf.shape)
        for leaf, key in zip(leaves, keys, strict=True)
    ]
    given = jax.random.normal(jax.random.key(2), (context,))
    return Pixelwise(jax.tree.unflatten(treedef, noisy), given, body=body, dim=spec.dim)


def all_images(dim, num_levels=2):
    return jnp.array(list(itertools.product(range(num_levels), repeat=dim)), jnp.float32)


@pytest.mark.parametrize("network", NETWORKS)
def test_probabilities_of_all_images_sum_to_one(network):
    density = some(network)
    log_prob = np.asarray(jax.jit(density.log_prob)(all_images(DIM)), np.float64)
    assert np.exp(log_prob).sum() == pytest.approx(1, abs=1e-4)
    assert log_prob.std() > 1


@pytest.mark.parametrize("head", ["categorical", "discretized_logistic", "logistic_mixture"])
def test_probabilities_of_levels_sum_to_one(head):
    density = some("pixelcnn", head, num_levels=3, shape=(2, 3))
    log_prob = np.asarray(jax.jit(density.log_prob)(all_images(6, 3)), np.float64)
    assert np.exp(log_prob).sum() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("context", [0, 3])
def test_pixel_by_pixel_the_features_are_those_of_one_pass(network, context):
    density = some(network, context=context)
    x = jax.random.bernoulli(jax.random.key(3), 0.5, (DIM,)).astype(jnp.float32)
    params = density.params["network"]
    whole = density.body.features(params, x, density.context)
    cache = density.body.start(params, density.context)
    for index in jnp.arange(DIM):
        previous = x[index - 1] if index else jnp.float32(0)
        cache, features = density.body.advance(params, cache, index, previous)
        np.testing.assert_allclose(features, whole.reshape(DIM, -1)[index], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("network", NETWORKS)
def test_a_pixel_sees_all_pixels_before_it_and_no_other(network):
    density = some(network, shape=(3, 3))
    x = jax.random.uniform(jax.random.key(3), (20, 9))
    slopes = jax.vmap(
        jax.jacobian(lambda x: density.body.features(density.params["network"], x, density.context))
    )(x)
    # Of one x, some paths may end in units that are off.
    np.testing.assert_array_equal(np.any(slopes != 0, axis=0), np.tri(9, k=-1, dtype=bool))


@pytest.mark.parametrize("network", NETWORKS)
def test_a_context_moves_every_pixel(network):
    density = some(network, context=3)
    slope = jax.jacobian(
        lambda c: density.body.features(density.params["network"], jnp.zeros(DIM), c)
    )(density.context)
    assert np.all(np.abs(slope).max(axis=1) > 1e-6)


@pytest.mark.parametrize("network", NETWORKS)
def test_draws_have_the_density(network):
    """E[-log p(x)] over draws is the entropy, and pixel means are those of the table."""
    density = some(network)
    x_all = all_images(DIM)
    log_prob = np.asarray(jax.jit(density.log_prob)(x_all), np.float64)
    x = jax.jit(lambda key: density.sample(key, (5000,)))(jax.random.key(5))
    assert x.shape == (5000, DIM)
    found = np.asarray(jax.jit(density.log_prob)(x), np.float64)
    probability = np.exp(log_prob)
    entropy = -probability @ log_prob
    assert abs(found.mean() + entropy) < 4 * found.std() / np.sqrt(len(found))
    means = probability @ np.asarray(x_all)
    stderr = np.sqrt(means * (1 - means) / len(x))
    assert np.all(np.abs(np.asarray(x).mean(axis=0) - means) < 4.5 * stderr + 1e-6)


@pytest.mark.parametrize(
    "head", [name for name in configs.REPRESENTATIONS if name not in ("bernoulli",)]
)
def test_every_head_is_drawn_and_scored(head):
    """The mean of log p over draws of levels, counts and points lies above that of other draws."""
    density = some("made", head, num_levels=5, shape=(2, 3), spread=0.2)
    x = density.sample(jax.random.key(6), (500,))
    assert x.shape == (500, 6)
    assert bool(jnp.all(density.support(x)))
    log_prob = jax.jit(density.log_prob)
    shuffled = jax.random.permutation(jax.random.key(7), x, axis=0, independent=True)
    assert np.isfinite(log_prob(x)).all()
    assert log_prob(x).mean() > log_prob(shuffled).mean()
