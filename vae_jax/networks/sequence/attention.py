"""A stack of causal attention blocks over positions (Vaswani et al. 2017, arXiv 1706.03762)."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from vae_jax.networks.causal.given import Given
from vae_jax.networks.causal.transformer import Block


class CausalAttention(nn.Module):
    """Blocks over a stream with learned positions, pre-norm.

    Attributes:
        width: of the stream, a multiple of num_heads.
        num_layers: blocks.
        num_heads: of attention.
        length: most places.
    """

    width: int
    num_layers: int
    num_heads: int
    length: int

    def setup(self):
        """Positions, blocks and the last norm."""
        small = nn.initializers.normal(0.02)
        self.positions = self.param("positions", small, (self.length, self.width))
        self.of_context = Given(self.width)
        self.blocks = [Block(self.width, self.num_heads) for _ in range(self.num_layers)]
        self.norm = nn.LayerNorm()

    def __call__(
        self, stream: Float[Array, "place width"], context: Float[Array, " context"]
    ) -> Float[Array, "place width"]:
        """All places."""
        stream = stream + self.positions[: len(stream)] + self.of_context(context)
        for block in self.blocks:
            stream = block(stream)
        return self.norm(stream)

    def start(self, context: Float[Array, " context"]):
        """The context, and room for the keys and values of every block."""
        shape = (self.length, self.num_heads, self.width // self.num_heads)
        return self.of_context(context), [(jnp.zeros(shape),) * 2 for _ in self.blocks]

    def advance(self, cache, index: Int[Array, ""], stream: Float[Array, " width"]):
        """Place `index`, with the keys and values of those before it."""
        given, memories = cache
        stream, kept = stream + self.positions[index] + given, []
        for block, memory in zip(self.blocks, memories, strict=True):
            stream, memory = block.one(stream, memory, index)
            kept.append(memory)
        return (given, kept), self.norm(stream)
