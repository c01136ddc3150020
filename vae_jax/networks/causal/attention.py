"""A stack of causal attention blocks over places (Vaswani et al. 2017, arXiv 1706.03762)."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from vae_jax.networks.causal.given import Given

_MLP_WIDENING = 4


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
        # Recomputed in the backward pass: the attention of one block is in memory, not of all.
        block = nn.remat(Block)
        self.blocks = [block(self.width, self.num_heads) for _ in range(self.num_layers)]
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


class Block(nn.Module):
    """Attention to what came before, then a dense layer, each beside the identity.

    Attributes:
        width: of the stream.
        num_heads: of attention.
    """

    width: int
    num_heads: int

    def setup(self):
        """Norms and dense layers."""
        self.before_attention, self.before_dense = nn.LayerNorm(), nn.LayerNorm()
        self.attended = nn.DenseGeneral((3, self.num_heads, self.width // self.num_heads))
        self.joined = nn.Dense(self.width)
        self.inner, self.outer = nn.Dense(_MLP_WIDENING * self.width), nn.Dense(self.width)

    def __call__(self, stream: Float[Array, "position width"]) -> Float[Array, "position width"]:
        """All positions."""
        query, key, value = jnp.unstack(self.attended(self.before_attention(stream)), axis=1)
        seen = jax.nn.dot_product_attention(query, key, value, is_causal=True)
        return self._after(stream, seen.reshape(stream.shape))

    def one(self, stream: Float[Array, " width"], memory: tuple[Array, Array], index):
        """One position, with the keys and values of those before it."""
        query, *new = jnp.unstack(self.attended(self.before_attention(stream)), axis=0)
        keys, values = (rows.at[index].set(row) for rows, row in zip(memory, new, strict=True))
        is_past = jnp.arange(len(keys)) <= index
        seen = jax.nn.dot_product_attention(query[None], keys, values, mask=is_past[None, None])
        return self._after(stream, seen.reshape(stream.shape)), (keys, values)

    def _after(self, stream, seen):
        stream = stream + self.joined(seen)
        return stream + self.outer(nn.gelu(self.inner(self.before_dense(stream))))
