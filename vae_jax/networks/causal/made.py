"""The masked autoencoder: dense layers in which no path leads from a pixel to itself or before.

Germain, Gregor, Murray, Larochelle 2015, *MADE*, arXiv 1502.03509, in the order of the pixels, with
its direct connections from input to output.
"""

from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from vae_jax.networks.causal.given import Given


class MADE(nn.Module):
    """Features of every pixel from the pixels before it.

    Attributes:
        dim: pixels.
        hidden_dims: widths of the hidden layers, one at least.
        num_per_pixel: features of a pixel.
        activation: between layers.
    """

    dim: int
    hidden_dims: tuple[int, ...]
    num_per_pixel: int
    activation: Callable = nn.relu

    def setup(self):
        """Layers with the masks of their order."""
        pixels = np.arange(self.dim)
        reaches = [reach(width, self.dim) for width in self.hidden_dims]
        # The input j is seen by what reaches beyond it, output i sees what reaches no further.
        seen = [pixels + 1, *reaches]
        self.hidden = [
            MaskedDense(before[:, None] <= after[None, :])
            for before, after in zip(seen, reaches, strict=False)
        ]
        outputs = np.repeat(pixels, self.num_per_pixel)[None, :]
        self.output = MaskedDense(reaches[-1][:, None] <= outputs)
        self.direct = MaskedDense(pixels[:, None] < outputs, use_bias=False)
        self.given = Given(self.hidden_dims[0])
        self.given_directly = Given(len(outputs[0]))

    def __call__(
        self, x: Float[Array, " dim"], context: Float[Array, " context"]
    ) -> Float[Array, " features"]:
        """`[dim * num_per_pixel]`, one pixel after the other."""
        first = self.hidden[0](x) + self.given(context)
        return self.output(self._above(first)) + self.direct(x) + self.given_directly(context)

    def start(self, context: Float[Array, " context"]) -> "MADECache":
        """Before there are any pixels."""
        nothing = jnp.zeros(self.dim)
        first = self.hidden[0](nothing) + self.given(context)
        return MADECache(first, nothing, self.given_directly(context))

    def advance(
        self, cache: "MADECache", index: Int[Array, ""], previous: Float[Array, ""]
    ) -> tuple["MADECache", Float[Array, " per_pixel"]]:
        """The features of pixel `index`; `previous` is the pixel before it, 0 for the first."""
        first = cache.first + previous * self.hidden[0].row(index - 1)
        # Before the first pixel, 0 is written at the end, where a 0 is.
        x = cache.x.at[index - 1].set(previous)
        here = index * self.num_per_pixel, self.num_per_pixel
        features = self.output.part(self._above(first), *here) + self.direct.part(x, *here)
        features += jax.lax.dynamic_slice_in_dim(cache.given, *here)
        return cache._replace(first=first, x=x), features

    def _above(self, first):
        hidden = self.activation(first)
        for layer in self.hidden[1:]:
            hidden = self.activation(layer(hidden))
        return hidden


class MADECache(NamedTuple):
    """What one pixel leaves for the next.

    Attributes:
        first: what the first hidden layer sees.
        x: the pixels so far, then zeros.
        given: what the context adds to every feature.
    """

    first: Float[Array, " hidden"]
    x: Float[Array, " dim"]
    given: Float[Array, " features"]


def reach(width: int, dim: int) -> Int[np.ndarray, " width"]:
    """How many of the first pixels each hidden unit sees: 1 ... dim - 1, as evenly as can be."""
    return 1 + np.arange(width) * max(dim - 1, 1) // width


class MaskedDense(nn.Module):
    """A dense layer some of whose weights are none.

    Attributes:
        mask: which weights are there, `[input, output]`.
        use_bias: add one.
    """

    mask: np.ndarray
    use_bias: bool = True

    def setup(self):
        """The kernel, scaled by the number of inputs, those masked away included."""
        self.kernel = self.param("kernel", nn.initializers.lecun_normal(), self.mask.shape)
        if self.use_bias:
            self.bias = self.param("bias", nn.initializers.zeros, self.mask.shape[1:])

    def __call__(self, features: Float[Array, " input"]) -> Float[Array, " output"]:
        """The affine map."""
        output = features @ self._masked()
        return output + self.bias if self.use_bias else output

    def row(self, index: Int[Array, ""]) -> Float[Array, " output"]:
        """What one input of 1 adds to every output."""
        return self._masked()[index]

    def part(
        self, features: Float[Array, " input"], start: Int[Array, ""], size: int
    ) -> Float[Array, " size"]:
        """Some of the outputs alone."""
        output = features @ jax.lax.dynamic_slice_in_dim(self._masked(), start, size, axis=1)
        if not self.use_bias:
            return output
        return output + jax.lax.dynamic_slice_in_dim(self.bias, start, size)

    def _masked(self):
        return self.kernel * self.mask
