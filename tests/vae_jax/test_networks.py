"""Networks are the maps they claim to be: affine ones, and convolutions that keep their place."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bayes_jax.errors import InputError
from vae_jax.configs import NetworkConfig, ObservationSpec
from vae_jax.networks import (
    MLP,
    ConvDecoder,
    ConvEncoder,
    TwoLevelDecoder,
    make_networks,
    with_output_bias,
)

from .conftest import few


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


def test_the_activation_is_the_one_that_is_named():
    sizes = {"num_encoder_features": 3, "num_decoder_features": 6}
    features = jax.random.normal(jax.random.key(1), (7, 6))
    for name, function in {"tanh": np.tanh, "relu": lambda x: np.maximum(x, 0)}.items():
        spec = ObservationSpec(6, "bernoulli")
        mlp, _ = make_networks(NetworkConfig(activation=name), (5,), spec, **sizes)
        params = mlp.init(jax.random.key(0), features[0])
        first, last = (params["params"][layer]["kernel"] for layer in ("Dense_0", "output"))
        expected = function(np.asarray(features @ first)) @ np.asarray(last)
        np.testing.assert_allclose(mlp.apply(params, features), expected, atol=1e-5)


def test_output_bias_moves_the_output_and_nothing_else(params):
    features = jax.random.normal(jax.random.key(1), (7, 6))
    shift = jnp.array([1.0, -2.0, 3.0])
    moved = with_output_bias(params, params["params"]["output"]["bias"] + shift)
    before, after = (MLP((5, 4), 3).apply(p, features) for p in (params, moved))
    np.testing.assert_allclose(after - before, jnp.tile(shift, (7, 1)), atol=1e-5)
    assert jax.tree.structure(moved) == jax.tree.structure(params)


# --- convolutions --------------------------------------------------------------------------------

SHAPES = [(8, 8), (7, 5), (28, 20)]


def networks(shape, *, num_blocks=0, num_per_pixel=3):
    options = {"channels": (4, 6), "num_blocks": num_blocks}
    encoder = ConvEncoder(shape, hidden_dims=(9,), output_dim=5, **options)
    decoder = ConvDecoder(shape, hidden_dims=(9,), num_per_pixel=num_per_pixel, **options)
    return encoder, decoder


def noisy(params):
    return jax.tree.map(
        lambda leaf: leaf + 0.3 * jax.random.normal(jax.random.key(leaf.size), leaf.shape), params
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shape", "num_blocks"),
    [
        pytest.param(shape, num, marks=() if shape == (7, 5) else pytest.mark.long)
        for shape in SHAPES
        for num in (0, 2)
    ],
)
def test_convolutions_read_and_give_images_of_any_size(shape, num_blocks):
    encoder, decoder = networks(shape, num_blocks=num_blocks)
    dim = shape[0] * shape[1]
    inputs = {encoder: (dim, 5), decoder: (2, 3 * dim)}
    for network, (num_in, num_out) in inputs.items():
        features = jax.random.normal(jax.random.key(1), (6, num_in))
        params = noisy(network.init(jax.random.key(0), features[0]))
        batched = jax.vmap(network.apply, (None, 0))(params, features)
        assert batched.shape == (6, num_out)
        one = network.apply(params, features[2])
        np.testing.assert_allclose(batched[2], one, rtol=1e-3, atol=1e-4)

        def loss(params, network=network, features=features):
            return jnp.sum(jax.vmap(network.apply, (None, 0))(params, features) ** 2)

        moved = jax.tree.leaves(jax.grad(loss)(params))
        assert all(bool(jnp.any(leaf != 0)) for leaf in moved)


def test_a_level_sees_its_surroundings_and_nothing_else():
    """A change in one place of the inner image shows around that place, in every channel."""
    shape = (16, 12)
    _, decoder = networks(shape)
    params = noisy(decoder.init(jax.random.key(0), jnp.zeros(2)))
    dense = params["params"]["MLP_0"]["output"]

    def decoded(change):
        bias = dense["bias"].reshape(4, 3, 6).at[1, 2].add(change).reshape(-1)
        layers = {**params["params"]["MLP_0"], "output": {**dense, "bias": bias}}
        return decoder.apply({"params": {**params["params"], "MLP_0": layers}}, jnp.zeros(2))

    difference = np.abs(np.asarray(decoded(5.0) - decoded(0.0))).reshape(*shape, 3)
    rows, columns, channels = np.nonzero(difference > 1e-5)
    assert set(channels) == {0, 1, 2}
    # Place (1, 2) of an image a quarter of the size covers rows 4 to 7 and columns 8 to 11; three
    # kernels of 3 reach 1 + 2 + 1 pixels further at most.
    assert rows.max() <= 11
    assert columns.min() >= 4
    assert (np.mean(rows) > 3) & (np.mean(rows) < 8)
    assert np.mean(columns) > 7.5


def test_every_pixel_starts_from_a_bias_of_its_own():
    _, decoder = networks((7, 5))
    params = decoder.init(jax.random.key(0), jnp.zeros(2))
    bias = jax.random.normal(jax.random.key(1), (105,))
    moved = decoder.apply(with_output_bias(params, bias), jnp.zeros(2))
    np.testing.assert_allclose(moved - decoder.apply(params, jnp.zeros(2)), bias, atol=1e-5)


def test_convolutions_of_what_is_no_image_are_refused():
    spec = ObservationSpec(6, "bernoulli")
    with pytest.raises(InputError, match=r"network conv .* expected images, or mlp"):
        make_networks(
            NetworkConfig("conv"), (8,), spec, num_encoder_features=4, num_decoder_features=6
        )


# --- two levels ----------------------------------------------------------------------------------


def test_the_lower_level_is_drawn_given_the_upper_one():
    """By hand, with numpy: loc(top) + softplus(scale(top)) noise, and the body reads only that."""
    decoder = TwoLevelDecoder(2, (5,), MLP((6,), 4))
    params = noisy(decoder.init(jax.random.key(0), jnp.zeros(5)))
    z = jax.random.normal(jax.random.key(1), (5,))
    layers = jax.tree.map(np.asarray, params["params"])
    between, top, noise = layers["between"], np.asarray(z[:2]), np.asarray(z[2:])
    hidden = np.maximum(top @ between["Dense_0"]["kernel"] + between["Dense_0"]["bias"], 0)
    out = hidden @ between["output"]["kernel"] + between["output"]["bias"]
    lower = out[:3] + np.log1p(np.exp(out[3:] + np.log(np.e - 1))) * noise
    expected = MLP((6,), 4).apply({"params": layers["body"]}, jnp.asarray(lower))
    np.testing.assert_allclose(decoder.apply(params, z), expected, atol=1e-5)


@pytest.mark.parametrize("name", ["mlp", "conv"])
def test_two_levels_stand_before_any_body(name):
    spec = ObservationSpec(20, "bernoulli", image_shape=(5, 4))
    config = NetworkConfig(name, top_dim=2, **few(name))
    sizes = {"num_encoder_features": 12, "num_decoder_features": 20}
    _, decoder = make_networks(config, (8, 7), spec, **sizes)
    params = decoder.init(jax.random.key(0), jnp.zeros(6))
    bias = jax.random.normal(jax.random.key(1), (20,))
    z = jax.random.normal(jax.random.key(2), (6,))
    moved = decoder.apply(with_output_bias(params, bias), z) - decoder.apply(params, z)
    np.testing.assert_allclose(moved, bias, atol=1e-5)
    # Both levels matter.
    slope = jax.jacobian(lambda z: decoder.apply(params, z))(z)
    assert bool(jnp.all(jnp.any(slope != 0, axis=0)))
