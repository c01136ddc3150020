"""Pixels one after the other: total probability, order, and draws that have their density."""

import functools
import itertools
import typing

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from vae_jax import configs
from vae_jax.configs import AutoregressiveConfig, ObservationSpec
from vae_jax.pixelwise import Pixelwise
from vae_jax.systems.autoregressive import causal_family

NETWORKS = typing.get_args(configs.CausalName)
# Heads of one feature per pixel and of several; grids whose images can all be listed.
GRIDS = {"bernoulli": ((3, 4), 2), "categorical": ((2, 3), 3), "logistic_mixture": ((2, 3), 3)}
LEVELS = ("categorical", "logistic_mixture")


def some(network, head="bernoulli", *, num_levels=3, shape=(3, 4), context=0, spread=0.5):
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


@functools.cache
def listed(network, head):
    """A density, all images there are, and log p of each as it is stored, in bytes."""
    shape, num_levels = GRIDS[head]
    density = some(network, head, shape=shape)
    images = list(itertools.product(range(num_levels), repeat=shape[0] * shape[1]))
    x = np.array(images, np.uint8)
    return density, x, np.asarray(jax.jit(density.log_prob)(x), np.float64)


def pixel_by_pixel(density, x):
    """The features of every pixel from those before it, `[dim, per pixel]`, as draws make them."""
    params = density.params["network"]

    def one_pixel(cache, inputs):
        return density.body.advance(params, cache, *inputs)

    before = jnp.pad(x, (1, 0))[:-1]
    start = density.body.start(params, density.context)
    return jax.lax.scan(one_pixel, start, (jnp.arange(len(x)), before))[1]


@pytest.mark.slow
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("head", GRIDS)
def test_probabilities_of_all_images_sum_to_one(network, head):
    _, _, log_prob = listed(network, head)
    assert np.exp(log_prob).sum() == pytest.approx(1, abs=1e-4)
    assert log_prob.std() > 0.5


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("head", GRIDS)
def test_draws_have_the_density(network, head):
    """E[-log p(x)] over draws is the entropy, and pixel means are those of the list."""
    density, x_all, log_prob = listed(network, head)
    x = jax.jit(lambda key: density.sample(key, (5000,)))(jax.random.key(5))
    assert x.shape == (5000, x_all.shape[1])
    num_levels = GRIDS[head][1]
    found = log_prob[np.asarray(x, int) @ num_levels ** np.arange(x.shape[1])[::-1]]
    probability = np.exp(log_prob)
    entropy = -probability @ log_prob
    assert abs(found.mean() + entropy) < 4 * found.std() / np.sqrt(len(found))
    share = np.asarray(probability, float) / probability.sum(dtype=float)
    means = share @ x_all
    stderr = np.sqrt(share @ np.square(x_all - means) / len(x))
    assert np.all(np.abs(np.asarray(x).mean(axis=0) - means) < 4.5 * stderr + 1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize(("head", "context"), [("categorical", 0), ("logistic_mixture", 3)])
def test_pixel_by_pixel_the_features_are_those_of_one_pass(network, head, context):
    density = some(network, head, context=context)
    x = jax.random.uniform(jax.random.key(3), (12,))
    whole = density.body.features(density.params["network"], x, density.context)
    found = jax.jit(functools.partial(pixel_by_pixel, density))(x)
    np.testing.assert_allclose(found, whole.reshape(found.shape), rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("head", LEVELS)
def test_a_pixel_sees_all_pixels_before_it_and_no_other(network, head):
    """By every one of its features."""
    density = some(network, head, shape=(3, 3))

    def features(x):
        return density.body.features(density.params["network"], x, density.context)

    x = jax.random.uniform(jax.random.key(3), (20, 9))
    slopes = jax.jit(jax.vmap(jax.jacobian(features)))(x)
    # Of one x, some paths may end in units that are off.
    sees = np.any(slopes != 0, axis=0).reshape(9, -1, 9)
    expected = np.broadcast_to(np.tri(9, k=-1, dtype=bool)[:, None], sees.shape)
    np.testing.assert_array_equal(sees, expected)


@pytest.mark.slow
@pytest.mark.parametrize("network", NETWORKS)
def test_a_context_moves_every_pixel(network):
    density = some(network, context=3)
    slope = jax.jacobian(
        lambda c: density.body.features(density.params["network"], jnp.zeros(12), c)
    )(density.context)
    assert np.all(np.abs(slope).max(axis=1) > 1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    "head", [name for name in configs.REPRESENTATIONS if name not in ("bernoulli", *LEVELS)]
)
def test_the_slope_of_log_p_is_zero_in_the_mean_of_draws(head):
    """E[d log p(x) / d params] = 0 under the density itself, of whatever head."""
    density = some("made", head, num_levels=5, shape=(2, 3), spread=0.2)
    params, output = density.params, density.params["network"]["params"]["output"]

    def log_prob(part, x):
        bias, head = part
        layers = params["network"]["params"] | {"output": output | {"bias": bias}}
        moved = {"network": {"params": layers}, "head": head}
        return Pixelwise(moved, density.context, body=density.body, dim=6).log_prob(x)

    def drawn(key):
        x = density.sample(key)
        slope = jax.grad(log_prob)((output["bias"], params["head"]), x)
        return x, ravel_pytree(slope)[0]

    x, slopes = jax.jit(jax.vmap(drawn))(jax.random.split(jax.random.key(6), 4000))
    assert bool(jnp.all(density.support(x)))
    slopes = np.asarray(slopes, np.float64)
    stderr = slopes.std(axis=0) / np.sqrt(len(slopes))
    assert np.all(np.abs(slopes.mean(axis=0)) < 4.5 * stderr)
