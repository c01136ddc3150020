"""Convolutions that train as fast inside a compiled loop as outside.

XLA's CPU compiler brings the convolutions of a gradient into the form its fast kernels take in the
outermost computation only: in a scan, where training runs, they take ten to thirty times as long
(jax 0.10.2). Matrix products are fast everywhere, so on a CPU a convolution is made of them.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from bayes_jax.errors import InputError
from vae_jax.networks.half_product import half_product

_NHWC = ("NHWC", "HWIO", "NHWC")

# What Flax passes beside: the order of the axes, which is checked by the shapes.
_IGNORED = ("dimension_numbers",)

Padding = str | Sequence[tuple[int, int]]


def convolve(
    images: Float[Array, "batch height width channel"],
    kernel: Float[Array, "rows columns channel output"],
    strides: Sequence[int] = (1, 1),
    padding: Padding = "SAME",
    *,
    lhs_dilation: Sequence[int] = (1, 1),
    **options,
) -> Float[Array, "batch height_out width_out output"]:
    """`jax.lax.conv_general_dilated` of images, channels last; Flax's layers take it in its place.

    Args:
        images: a batch.
        kernel: shared.
        strides: of rows and columns.
        padding: "SAME", "VALID", or what to add before and after.
        lhs_dilation: 2 puts a zero between any two pixels, as a transposed convolution does.
        options: of `conv_general_dilated`, at their defaults.

    Raises:
        InputError: an option that is not, for products would not obey it.
    """
    for name, value in options.items():
        if name not in _IGNORED and value not in (None, 1, (1, 1)):
            raise InputError(f"{name} is {value}: expected its default")
    height, width = (
        1 + (size - 1) * dilation
        for size, dilation in zip(images.shape[1:3], lhs_dilation, strict=True)
    )
    if isinstance(padding, str):
        padding = jax.lax.padtype_to_pads((height, width), kernel.shape[:2], strides, padding)
    options["dimension_numbers"] = _NHWC

    def by_convolution(images, kernel):
        return jax.lax.conv_general_dilated(
            images, kernel, strides, padding, lhs_dilation=lhs_dilation, **options
        )

    def by_products(images, kernel):
        return _by_products(images, kernel, strides, padding, lhs_dilation)

    return jax.lax.platform_dependent(images, kernel, cpu=by_products, default=by_convolution)


def _by_products(images, kernel, strides, padding, dilation):
    """A sum over the kernel's rows of products with its columns side by side."""
    around = [(*pads, between - 1) for pads, between in zip(padding, dilation, strict=True)]
    images = jax.lax.pad(images, jnp.zeros((), images.dtype), [(0, 0, 0), *around, (0, 0, 0)])
    rows, columns, channels, output = kernel.shape
    starts = [images.shape[1] - rows + 1, images.shape[2] - columns + 1]
    shifted = [images[:, :, j : j + starts[1] : strides[1]] for j in range(columns)]
    beside = jnp.concatenate(shifted, axis=-1)
    kernel = kernel.reshape(rows, columns * channels, output)
    product = half_product if images.dtype == jnp.bfloat16 else jnp.matmul
    parts = (product(beside[:, i : i + starts[0] : strides[0]], kernel[i]) for i in range(rows))
    return sum(parts).astype(images.dtype)
