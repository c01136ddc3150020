"""Products of activations and kernels in bfloat16, accumulated in float32, and their gradients.

XLA's CPU backend uses the processor's bfloat16 units where the left operand's rows are contracted
and the result is float32; any other product it computes in float32, after casting. So the product
asks for a float32 result, and the kernel's gradient, whose left operand is contracted over the
batch, hands it over transposed. Elsewhere these are the products that they look like.
"""

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array, Float

_half_product = Primitive("half_product")
_PART = 8  # of the axis that is transposed in two parts


def half_product(
    features: Float[Array, "*batch input"], kernel: Float[Array, "input output"]
) -> Float[Array, "*batch output"]:
    """Features times kernel, their factors rounded to bfloat16 and the sums in float32."""
    return _half_product.bind(features, kernel)


def half_dot_general(
    features: Float[Array, "*batch input"],
    kernel: Float[Array, "input output"],
    dimension_numbers,
    precision=None,
    preferred_element_type=None,
) -> Float[Array, "*batch output"]:
    """`half_product` as `nn.Dense(dot_general=)` takes it.

    Args:
        features: `[..., input]`.
        kernel: `[input, output]`.
        dimension_numbers: those of this product.
        precision: not used, nor is preferred_element_type.
        preferred_element_type: the product is accumulated and returned in float32.
    """
    del precision, preferred_element_type
    assert dimension_numbers == (((features.ndim - 1,), (0,)), ((), ()))
    return half_product(features, kernel)


def _product(features, kernel):
    """`[..., input]` times `[input, output]`."""
    return _dot(features, kernel, features.ndim - 1, 0)


def _dot(left, right, left_axis: int, right_axis: int):
    axes = (((left_axis,), (right_axis,)), ((), ()))
    left, right = left.astype(jnp.bfloat16), right.astype(jnp.bfloat16)
    return lax.dot_general(left, right, axes, preferred_element_type=jnp.float32)


def _features_gradient(cotangent, features, kernel):
    """`[..., output]` times the kernel transposed, which XLA computes as it should."""
    gradient = _dot(cotangent, kernel, cotangent.ndim - 1, 1)
    return gradient.astype(features.aval.dtype)


def _kernel_gradient(cotangent, features, kernel):
    """The features of a batch, transposed, times its cotangents: `[input, output]`."""
    features = features.reshape(-1, features.shape[-1])
    cotangent = cotangent.reshape(-1, cotangent.shape[-1])
    gradient = lax.platform_dependent(
        features, cotangent, cpu=_transposed_product, default=lambda x, y: _dot(x, y, 0, 0)
    )
    return gradient.astype(kernel.aval.dtype)


def _transposed_product(features, cotangent):
    """As `_dot(features, cotangent, 0, 0)`.

    A transposition of two axes XLA would fold into the product; of three it does not.
    """
    num_examples, width = features.shape
    features = jnp.pad(features.astype(jnp.bfloat16), ((0, 0), (0, -width % _PART)))
    features = features.reshape(num_examples, -1, _PART).transpose(1, 2, 0)
    return _dot(features.reshape(-1, num_examples), cotangent, 1, 0)[:width]


def _batched(operands, axes):
    features, kernel = operands
    features_axis, kernel_axis = axes
    if kernel_axis is None:
        return _half_product.bind(jnp.moveaxis(features, features_axis, 0), kernel), 0
    return jax.vmap(_product, axes)(features, kernel), 0


def _shape(features, kernel):
    return features.update(shape=(*features.shape[:-1], kernel.shape[-1]), dtype=jnp.float32)


_half_product.def_impl(jax.jit(_product))
_half_product.def_abstract_eval(_shape)
batching.primitive_batchers[_half_product] = _batched
ad.defbilinear(_half_product, _features_gradient, _kernel_gradient)
mlir.register_lowering(_half_product, mlir.lower_fun(_product, multiple_results=False))
