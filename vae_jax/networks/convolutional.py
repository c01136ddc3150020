"""Convolutional encoder and decoder, mirror images: each level halves or doubles the image."""

from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Num

from vae_jax.networks.convolution import convolve
from vae_jax.networks.mlp import MLP
from vae_jax.networks.offset import Offset

KERNEL = (3, 3)


class _Levels(nn.Module):
    """What encoder and decoder share: the residual blocks of a level."""

    def blocks(self, image: Float[Array, "height width channel"]) -> Array:
        """The identity at their core (He et al. 2016, arXiv 1603.05027), no norms."""
        for _ in range(self.num_blocks):
            inner = self._conv(image.shape[-1])(self.activation(image))
            image = image + self._conv(image.shape[-1])(self.activation(inner))
        return image

    def _conv(self, channels: int) -> nn.Conv:
        return _conv(channels, dtype=self.dtype)


class ConvEncoder(_Levels):
    """An image to features: strided convolutions, then dense layers.

    Attributes:
        image_shape: (height, width).
        channels: of each level, from the image inwards.
        hidden_dims: widths of the dense layers behind them.
        output_dim: number of output features.
        num_blocks: residual blocks behind each level.
        activation: between layers.
        dtype: in which layers compute; params and output are float32.
    """

    image_shape: tuple[int, int]
    channels: tuple[int, ...]
    hidden_dims: tuple[int, ...]
    output_dim: int
    num_blocks: int = 0
    activation: Callable = nn.relu
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, pixels: Num[Array, " dim"]) -> Float[Array, " output"]:
        """Map one image `[height * width]` to `[output_dim]`."""
        image = pixels.reshape(*self.image_shape, 1)
        for channels in self.channels:
            image = _conv(channels, strides=2, dtype=self.dtype)(image)
            image = self.blocks(self.activation(image))
        dense = MLP(self.hidden_dims, self.output_dim, self.activation, self.dtype)
        return dense(image.reshape(-1))


class ConvDecoder(_Levels):
    """Features to features of every pixel: dense layers, then transposed convolutions.

    Attributes:
        image_shape: (height, width).
        channels: of each level, from the image inwards, as the encoder has them.
        hidden_dims: widths of the dense layers before them.
        num_per_pixel: output features of a pixel.
        num_blocks: residual blocks before each level.
        activation: between layers.
        dtype: in which layers compute; params and output are float32.
    """

    image_shape: tuple[int, int]
    channels: tuple[int, ...]
    hidden_dims: tuple[int, ...]
    num_per_pixel: int
    num_blocks: int = 0
    activation: Callable = nn.relu
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, features: Num[Array, " input"]) -> Float[Array, " output"]:
        """Map `[input]` to `[height * width * num_per_pixel]`, one pixel after the other."""
        *larger, smallest = self._shapes()
        width = smallest[0] * smallest[1] * self.channels[-1]
        image = MLP(self.hidden_dims, width, self.activation, self.dtype)(features)
        image = self.activation(image).reshape(*smallest, self.channels[-1])
        outer = [self.channels[0], *self.channels[:-1]]
        levels = zip(reversed(larger), reversed(outer), strict=True)
        for index, (shape, channels) in enumerate(levels):
            image = self.blocks(image)
            # It doubles; an odd side is one pixel less.
            image = _conv_transpose(channels, f"ConvTranspose_{index}", dtype=self.dtype)(image)
            image = self.activation(image[: shape[0], : shape[1]])
        pixels = _conv(self.num_per_pixel, use_bias=False, dtype=self.dtype)(image)
        pixels = pixels.reshape(-1).astype(jnp.float32)
        return Offset(len(pixels), name="output")(pixels)

    def _shapes(self) -> list[tuple[int, int]]:
        """Of the image and of every level."""
        shapes = [self.image_shape]
        for _ in self.channels:
            height, width = shapes[-1]
            shapes.append((-(-height // 2), -(-width // 2)))
        return shapes


def _conv(channels: int, **options) -> nn.Conv:
    return nn.Conv(channels, KERNEL, conv_general_dilated=convolve, **options)


def _conv_transpose(channels: int, name: str, **options) -> nn.Conv:
    """The layer `nn.ConvTranspose` of stride 2, params and all."""
    return _conv(channels, name=name, input_dilation=2, padding=((2, 1), (2, 1)), **options)
