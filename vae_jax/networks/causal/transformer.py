"""A small causal transformer over pixels (Vaswani et al. 2017, arXiv 1706.03762), pre-norm."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from vae_jax.networks.causal.given import Given
from vae_jax.networks.offset import Offset

_MLP_WIDENING = 4


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
        """Embeddings, blocks and the way out."""
        small = nn.initializers.normal(0.02)
        self.positions = self.param("positions", small, (self.dim, self.width))
        self.embedding = nn.Dense(self.width)
        self.of_context = Given(self.width)
        # Recomputed in the backward pass: the attention of one block is in memory, not of all.
        block = nn.remat(Block)
        self.blocks = [block(self.width, self.num_heads) for _ in range(self.num_layers)]
        self.norm = nn.LayerNorm()
        self.features = nn.Dense(self.num_per_pixel, use_bias=False)
        self.output = Offset(self.dim * self.num_per_pixel)

    def __call__(
        self, x: Float[Array, " dim"], context: Float[Array, " context"]
    ) -> Float[Array, " features"]:
        """`[dim * num_per_pixel]`, one pixel after the other."""
        before = jnp.pad(x, (1, 0))[:-1]
        stream = self.embedding(before[:, None]) + self.positions + self.of_context(context)
        for block in self.blocks:
            stream = block(stream)
        return self.output(self.features(self.norm(stream)).reshape(-1))

    def start(self, context: Float[Array, " context"]):
        """The context, and room for the keys and values of every block."""
        shape = (self.dim, self.num_heads, self.width // self.num_heads)
        return self.of_context(context), [(jnp.zeros(shape),) * 2 for _ in self.blocks]

    def advance(self, cache, index: Int[Array, ""], previous: Float[Array, ""]):
        """The features of pixel `index`; `previous` is the pixel before it, 0 for the first."""
        given, memories = cache
        stream = self.embedding(previous[None]) + self.positions[index] + given
        kept = []
        for block, memory in zip(self.blocks, memories, strict=True):
            stream, memory = block.one(stream, memory, index)
            kept.append(memory)
        features = self.output.of_pixel(self.features(self.norm(stream)), index)
        return (given, kept), features


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
