"""The gated PixelCNN: one stack of convolutions sees the rows above, another the pixels before.

van den Oord et al. 2016, *Conditional image generation with PixelCNN decoders*, arXiv 1606.05328,
figure 2. The image is shifted once, by a row for the vertical stack and by a pixel for the
horizontal one, instead of masking the first layer: then all layers are alike.
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from vae_jax.networks.causal.given import Given
from vae_jax.networks.convolution import convolve
from vae_jax.networks.offset import Offset


class GatedPixelCNN(nn.Module):
    """Features of every pixel from the pixels before it, row by row.

    Attributes:
        image_shape: (height, width).
        channels: of every layer.
        num_layers: gated layers.
        reach: how many rows up and pixels sideways one layer sees.
        num_per_pixel: features of a pixel.
    """

    image_shape: tuple[int, int]
    channels: int
    num_layers: int
    num_per_pixel: int
    reach: int = 2

    def setup(self):
        """The layers."""
        size = self.image_shape[0] * self.image_shape[1] * self.num_per_pixel
        self.layers = [GatedLayer(self.channels, self.reach) for _ in range(self.num_layers)]
        self.hidden = nn.Dense(self.channels)
        self.features = nn.Dense(self.num_per_pixel, use_bias=False)
        self.output = Offset(size)

    def __call__(
        self, x: Float[Array, " dim"], context: Float[Array, " context"]
    ) -> Float[Array, " features"]:
        """`[dim * num_per_pixel]`, one pixel after the other."""
        image = x.reshape(*self.image_shape, 1)
        vertical = jnp.pad(image, ((1, 0), (0, 0), (0, 0)))[:-1]
        horizontal = jnp.pad(image, ((0, 0), (1, 0), (0, 0)))[:, :-1]
        total = 0.0
        for layer in self.layers:
            vertical, horizontal, skip = layer(vertical, horizontal, context)
            total += skip
        return self.output(self._read(total).reshape(-1))

    def start(self, context: Float[Array, " context"]) -> "PixelCNNCache":
        """Empty rows."""
        widths = [1] + [self.channels] * (self.num_layers - 1)
        height, width = self.image_shape
        return PixelCNNCache(
            context,
            jnp.zeros((height + 1, width)),
            [jnp.zeros((height + self.reach, width, channels)) for channels in widths],
            [jnp.zeros((width, 2 * self.channels)) for _ in widths],
            [jnp.zeros((1, width + self.reach, channels)) for channels in widths],
        )

    def advance(
        self, cache: "PixelCNNCache", index: Int[Array, ""], previous: Float[Array, ""]
    ) -> tuple["PixelCNNCache", Float[Array, " per_pixel"]]:
        """The features of pixel `index`; `previous` is the pixel before it, 0 for the first."""
        row, column = jnp.divmod(index, self.image_shape[1])
        # Row 0 of the image is above the first; the pixel before the first of a row is in the row
        # above it.
        above, before = jnp.divmod(index - 1, self.image_shape[1])
        image = cache.image.at[above + 1, before].set(previous)
        cache = cache._replace(image=image)
        cache = jax.lax.cond(column == 0, self._next_row, lambda cache, row: cache, cache, row)
        horizontal = jnp.where(column == 0, 0.0, previous).reshape(1)
        total, rows = 0.0, []
        for layer, left, given in zip(self.layers, cache.left, cache.given, strict=True):
            left = left.at[0, column + self.reach].set(horizontal)
            window = jax.lax.dynamic_slice_in_dim(left, column, self.reach + 1, axis=1)
            horizontal, skip = layer.pixel(window, given[column], cache.context)
            total += skip
            rows.append(left)
        features = self.output.of_pixel(self._read(total), index)
        return cache._replace(left=rows), features

    def _next_row(self, cache, row):
        """The vertical stack along a whole row, once all above it is known."""
        vertical = cache.image[row][:, None]
        above, given = [], []
        for layer, rows in zip(self.layers, cache.above, strict=True):
            rows = rows.at[row + self.reach].set(vertical)
            window = jax.lax.dynamic_slice_in_dim(rows, row, self.reach + 1, axis=0)
            vertical, to_horizontal = layer.row(window, cache.context)
            above.append(rows)
            given.append(to_horizontal)
        left = [jnp.zeros_like(row) for row in cache.left]
        return cache._replace(above=above, given=given, left=left)

    def _read(self, total):
        return self.features(nn.relu(self.hidden(nn.relu(total))))


class PixelCNNCache(NamedTuple):
    """What one pixel leaves for the next.

    Attributes:
        context: seen by all.
        image: the pixels so far, below a row of zeros, `[height + 1, width]`.
        above: inputs of each vertical layer, below `reach` rows of zeros.
        given: what each vertical layer gives the horizontal one in this row, `[width, channel]`.
        left: inputs of each horizontal layer in this row, right of `reach` zeros.
    """

    context: Float[Array, " context"]
    image: Float[Array, "rows width"]
    above: list
    given: list
    left: list


class GatedLayer(nn.Module):
    """One layer of both stacks.

    Attributes:
        channels: of what it gives.
        reach: rows up and pixels sideways.
    """

    channels: int
    reach: int

    def setup(self):
        """Two convolutions, and how the stacks are joined."""
        reach, gates = self.reach, 2 * self.channels
        self.vertical = _Conv(gates, (reach + 1, 2 * reach + 1))
        self.horizontal = _Conv(gates, (1, reach + 1))
        self.between = nn.Dense(gates)
        self.of_context = Given(2 * gates)
        self.residual, self.skip = nn.Dense(self.channels), nn.Dense(self.channels)

    def __call__(self, vertical, horizontal, context):
        """Both stacks of a whole image, and what goes to the output."""
        to_vertical, to_horizontal = jnp.split(self.of_context(context), 2)
        reach = self.reach
        above = self.vertical(vertical, ((reach, 0), (reach, reach)))
        before = self.horizontal(horizontal, ((0, 0), (reach, 0)))
        gated = _gate(before + self.between(above) + to_horizontal)
        return _gate(above + to_vertical), self._joined(horizontal, gated), self.skip(gated)

    def row(self, window, context):
        """The vertical stack in one row, from `reach + 1` rows; and what it gives the other."""
        to_vertical, _ = jnp.split(self.of_context(context), 2)
        above = self.vertical(window, ((0, 0), (self.reach, self.reach)))[0]
        return _gate(above + to_vertical), self.between(above)

    def pixel(self, window, given, context):
        """The horizontal stack at one pixel, from `reach + 1` pixels."""
        _, to_horizontal = jnp.split(self.of_context(context), 2)
        before = self.horizontal(window, ((0, 0), (0, 0)))[0, 0]
        gated = _gate(before + given + to_horizontal)
        return self._joined(window[0, -1], gated), self.skip(gated)

    def _joined(self, horizontal, gated):
        """With the identity, from the second layer on."""
        is_first = horizontal.shape[-1] != self.channels
        return self.residual(gated) + (0.0 if is_first else horizontal)


class _Conv(nn.Module):
    """A convolution whose padding is the caller's: the whole image, or a window of it."""

    channels: int
    kernel: tuple[int, int]

    @nn.compact
    def __call__(self, image, padding):
        shape = (*self.kernel, image.shape[-1], self.channels)
        kernel = self.param("kernel", nn.initializers.lecun_normal(), shape)
        bias = self.param("bias", nn.initializers.zeros, (self.channels,))
        return convolve(image[None], kernel, padding=padding)[0] + bias


def _gate(features):
    value, gate = jnp.split(features, 2, axis=-1)
    return jnp.tanh(value) * nn.sigmoid(gate)
