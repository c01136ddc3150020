"""The MLP is the affine maps and ReLUs it claims to be."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vae_jax.networks import MLP, with_output_bias


@pytest.fixture(scope="module")
def params():
    params = MLP((5, 4), 3).init(jax.random.key(0), jnp.zeros(6))

    # Biases start at zero, where a forgotten one would not show.
    def add_noise(leaf):
        return leaf + 0.3 * jax.random.normal(jax.random.key(leaf.size), leaf.shape)

    return jax.tree.map(add_noise, params)


def test_forward_is_affine_maps_with_relu_between(params):
    features = jax.random.normal(jax.random.key(1), (7, 6))
    layers = jax.tree.map(np.asarray, params["params"])
    expected = np.asarray(features)
    for name in ("Dense_0", "Dense_1"):
        expected = np.maximum(expected @ layers[name]["kernel"] + layers[name]["bias"], 0)
    expected = expected @ layers["output"]["kernel"] + layers["output"]["bias"]
    assert (expected < 0).any()
    np.testing.assert_allclose(MLP((5, 4), 3).apply(params, features), expected, atol=1e-5)


def test_output_bias_moves_the_output_and_nothing_else(params):
    features = jax.random.normal(jax.random.key(1), (7, 6))
    shift = jnp.array([1.0, -2.0, 3.0])
    moved = with_output_bias(params, params["params"]["output"]["bias"] + shift)
    before, after = (MLP((5, 4), 3).apply(p, features) for p in (params, moved))
    np.testing.assert_allclose(after - before, jnp.tile(shift, (7, 1)), atol=1e-5)
    assert jax.tree.structure(moved) == jax.tree.structure(params)
