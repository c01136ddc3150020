"""Products in bfloat16: the values and gradients of rounded factors, by the processor's units."""

import re

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

from bayes_jax.mcmc.targets import make_target
from vae_jax.networks import MLP
from vae_jax.networks.convolution import convolve
from vae_jax.networks.half_product import half_dot_general


def rounded(array):
    """To bfloat16, in float64 for numpy."""
    return np.asarray(jnp.asarray(array).astype(jnp.bfloat16).astype(jnp.float32), np.float64)


def product(features, kernel):
    return half_dot_general(features, kernel, (((features.ndim - 1,), (0,)), ((), ())))


def draws(*shapes):
    keys = jax.random.split(jax.random.key(0), len(shapes))
    return [jax.random.normal(key, shape) for key, shape in zip(keys, shapes, strict=True)]


@pytest.mark.parametrize("width", [13, 16, 21])
def test_values_and_gradients_are_those_of_rounded_factors(width):
    x, w, g = draws((6, width), (width, 5), (6, 5))
    y, pull = jax.vjp(product, x, w)
    x_gradient, w_gradient = pull(g)
    assert {y.dtype, x_gradient.dtype, w_gradient.dtype} == {jnp.dtype("float32")}
    np.testing.assert_allclose(y, rounded(x) @ rounded(w), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(x_gradient, rounded(g) @ rounded(w).T, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(w_gradient, rounded(x).T @ rounded(g), rtol=1e-5, atol=1e-5)


def test_one_kernel_for_all_of_a_batch_is_one_product():
    """Mapped over x, of one x, or of rows in several dimensions."""
    x, w, g = draws((6, 16), (16, 5), (6, 5))

    def loss(function):
        return jax.value_and_grad(lambda x, w: (g * function(x, w)).sum(), (0, 1))

    whole = loss(product)(x, w)
    chex.assert_trees_all_equal(loss(jax.vmap(product, (0, None)))(x, w), whole)
    folded = loss(lambda x, w: product(x.reshape(2, 3, 16), w).reshape(6, 5))(x, w)
    chex.assert_trees_all_equal(folded, whole)
    np.testing.assert_allclose(product(x[0], w), product(x, w)[0], rtol=1e-6)


def test_a_kernel_for_each_of_a_batch():
    """As many networks side by side have; with gradients of theirs."""
    x, w = draws((3, 6, 16), (3, 16, 5))

    def gradients(x, w):
        return jax.grad(lambda x, w: jnp.sin(product(x, w)).sum(), (0, 1))(x, w)

    found = jax.vmap(gradients)(x, w)
    expected = jax.tree.map(lambda *of: jnp.stack(of), *map(gradients, x, w))
    chex.assert_trees_all_close(found, expected, rtol=1e-2, atol=1e-2)
    shared = jax.vmap(product, (None, 0))(x[0], w)
    np.testing.assert_allclose(shared, rounded(x[0]) @ rounded(w), rtol=1e-5, atol=1e-5)


def factor_types(function, *args) -> list[list[str]]:
    """Of all products of matrices that XLA leaves in a compiled function."""
    text = jax.jit(function).lower(*args).compile().as_text()
    types = dict(re.findall(r"%?([\w.-]+) = (\w+)\[", text))
    factors = [re.findall(r"%([\w.-]+)", names) for names in re.findall(r" dot\((.*?)\)", text)]
    return [[types[name] for name in pair] for pair in factors]


def test_every_product_of_a_training_step_has_factors_in_half_precision():
    """XLA casts those to float32 that it has no units for."""
    network = MLP((32, 24), 8, dtype=jnp.bfloat16)
    (x,) = draws((40, 16))
    params = network.init(jax.random.key(0), x[0])

    def loss(params, x):
        return jnp.square(jax.vmap(lambda x: network.apply(params, x))(x)).sum()

    found = factor_types(jax.grad(loss, (0, 1)), params, x)
    assert found == 9 * [["bf16", "bf16"]]  # three for each layer


def test_so_has_every_product_of_a_convolution():
    images, kernel = (array.astype(jnp.bfloat16) for array in draws((5, 8, 8, 8), (3, 3, 8, 16)))

    def loss(images, kernel):
        return jnp.square(convolve(images, kernel, (2, 2), "SAME")).sum()

    found = factor_types(jax.grad(loss, (0, 1)), images, kernel)
    assert found == 9 * [["bf16", "bf16"]]  # three for each row of the kernel


def test_rough_forces_of_a_decoder_take_products_in_half_precision():
    """Though it computes in float32: its params come cast."""
    network = MLP((32, 24), 8)
    (z,) = draws((40, 16))
    params = network.init(jax.random.key(0), z[0])

    def log_density(params, z):
        return -jnp.square(network.apply(params, z)).sum()

    def forces(force_dtype):
        target = make_target(Partial(log_density, params), force_dtype)
        return lambda z: jax.vmap(target.evaluate)(z)[1]

    assert factor_types(forces("bfloat16"), z) == 6 * [["bf16", "bf16"]]  # two for each layer
    assert factor_types(forces("float32"), z) == 6 * [["f32", "f32"]]


def test_gradients_of_a_network_are_near_those_in_full_precision():
    (x,) = draws((64, 16))
    full, half = (MLP((32,), 4, nn.tanh, dtype) for dtype in (jnp.float32, jnp.bfloat16))
    params = full.init(jax.random.key(0), x[0])

    def gradient(network):
        return jax.grad(lambda params: jnp.square(network.apply(params, x)).sum())(params)

    chex.assert_trees_all_equal_shapes_and_dtypes(gradient(half), params)
    for near, exact in zip(*map(jax.tree.leaves, (gradient(half), gradient(full))), strict=True):
        difference = jnp.linalg.norm(near - exact) / jnp.linalg.norm(exact)
        assert 0 < difference < 0.02
