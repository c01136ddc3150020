"""Convolutions made of products are the convolutions, and in a CPU's loops they stay products."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bayes_jax import InputError
from vae_jax.networks.convolution import convolve

KEY = jax.random.key(0)
CASES = [
    {"padding": "SAME"},
    {"padding": "VALID"},
    {"padding": "SAME", "strides": (2, 2)},
    {"padding": ((2, 0), (1, 3)), "strides": (1, 2)},
    {"padding": ((2, 1), (2, 1)), "lhs_dilation": (2, 2)},
]


def plain(images, kernel, strides=(1, 1), **options):
    options["dimension_numbers"] = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(images, kernel, strides, **options)


@pytest.mark.slow
@pytest.mark.parametrize("options", CASES)
@pytest.mark.parametrize("shape", [(7, 8), (8, 5)])
def test_values_and_gradients_are_those_of_lax(options, shape):
    images = jax.random.normal(KEY, (3, *shape, 2))
    kernel = jax.random.normal(jax.random.key(1), (3, 2, 2, 4))

    def parts(function):
        def loss(images, kernel):
            return jnp.sum(jnp.sin(function(images, kernel, **options)))

        return function(images, kernel, **options), *jax.grad(loss, (0, 1))(images, kernel)

    for found, expected in zip(parts(convolve), parts(plain), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "options", [{"rhs_dilation": (2, 2)}, {"feature_group_count": 2}, {"batch_group_count": 3}]
)
def test_what_products_would_not_obey_is_refused(options):
    images, kernel = jnp.ones((3, 8, 8, 2)), jnp.ones((3, 2, 2, 4))
    (name,) = options
    with pytest.raises(InputError, match=f"{name} is .*expected its default"):
        convolve(images, kernel, **options)
    neutral = {"rhs_dilation": (1, 1), "feature_group_count": 1, "precision": None}
    np.testing.assert_array_equal(convolve(images, kernel, **neutral), convolve(images, kernel))


def test_the_transposed_layer_is_flax_s():
    x = jax.random.normal(KEY, (5, 6, 3))
    theirs = nn.ConvTranspose(4, (3, 3), strides=(2, 2))
    ours = nn.Conv(
        4, (3, 3), input_dilation=2, padding=((2, 1), (2, 1)), conv_general_dilated=convolve
    )
    params = theirs.init(KEY, x)
    assert jax.tree.structure(params) == jax.tree.structure(ours.init(KEY, x))
    np.testing.assert_allclose(ours.apply(params, x), theirs.apply(params, x), atol=1e-5)


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="of XLA's CPU compiler")
def test_a_gradient_in_a_loop_has_no_convolution_left():
    """They would run thirty times slower there (jax 0.10.2)."""

    def train(function, kernel, images):
        def step(kernel, _):
            slope = jax.grad(lambda kernel: jnp.sum(function(images, kernel, padding="SAME") ** 2))
            return kernel - slope(kernel), None

        return jax.lax.scan(step, kernel, None, length=3)[0]

    arguments = jnp.ones((3, 3, 2, 4)), jnp.ones((5, 8, 8, 2))

    def compiled(function):
        return jax.jit(lambda *a: train(function, *a)).lower(*arguments).compile().as_text()

    assert " convolution(" in compiled(plain)
    assert " convolution(" not in compiled(convolve)
