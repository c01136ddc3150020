"""A small causal transformer over pixels."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from vae_jax.networks.causal.attention import CausalAttention
from vae_jax.networks.offset import Offset


class CausalTransformer(nn.Module):
    """Features of every pixel from the pixels before it.

    Attributes:
        dim: pixels.
        width: of the stream, a multiple of num_heads.
        num_layers: blocks.
        num_heads: of attention.
        num_per_pixel: features of a pixel.
    """

    dim: int
    width: int
    num_layers: int
    num_heads: int
    num_per_pixel: int

    def setup(self):
        """The embedding, the stack and the way out."""
        self.embedding = nn.Dense(self.width)
        self.core = CausalAttention(self.width, self.num_layers, self.num_heads, self.dim)
        self.features = nn.Dense(self.num_per_pixel, use_bias=False)
        self.output = Offset(self.dim * self.num_per_pixel)

    def __call__(
        self, x: Float[Array, " dim"], context: Float[Array, " context"]
    ) -> Float[Array, " features"]:
        """`[dim * num_per_pixel]`, one pixel after the other."""
        before = jnp.pad(x, (1, 0))[:-1]
        stream = self.core(self.embedding(before[:, None]), context)
        return self.output(self.features(stream).reshape(-1))

    def start(self, context: Float[Array, " context"]):
        """What the stack keeps."""
        return self.core.start(context)

    def advance(self, cache, index: Int[Array, ""], previous: Float[Array, ""]):
        """The features of pixel `index`; `previous` is the pixel before it, 0 for the first."""
        cache, stream = self.core.advance(cache, index, self.embedding(previous[None]))
        return cache, self.output.of_pixel(self.features(stream), index)
