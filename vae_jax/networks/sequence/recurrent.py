"""Gated recurrent units (Cho et al. 2014, arXiv 1406.1078)."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from vae_jax.networks.causal.given import Given

_SMALL = 0.05
"""Of what a context adds at first, the scale of embeddings: more would drown the words."""


class CausalGRU(nn.Module):
    """Layers of units, each reading the one below.

    Attributes:
        width: of every layer and of the stream.
        num_layers: how many.
    """

    width: int
    num_layers: int

    def setup(self):
        """One cell a layer."""
        self.of_context = Given(self.width, scale=_SMALL)
        self.cells = [nn.GRUCell(self.width) for _ in range(self.num_layers)]
        self.readers = [nn.RNN(cell) for cell in self.cells]

    def __call__(
        self, stream: Float[Array, "place width"], context: Float[Array, " context"]
    ) -> Float[Array, "place width"]:
        """All places."""
        stream = stream + self.of_context(context)
        for reader in self.readers:
            stream = reader(stream)
        return stream

    def start(self, context: Float[Array, " context"]):
        """The context, and the empty memory of every layer."""
        return self.of_context(context), [jnp.zeros(self.width) for _ in self.cells]

    def advance(self, cache, index: Int[Array, ""], stream: Float[Array, " width"]):
        """One place; the memories say which one, whatever the index."""
        del index
        given, memories = cache
        stream, kept = stream + given, []
        for cell, memory in zip(self.cells, memories, strict=True):
            memory, stream = cell(memory, stream)
            kept.append(memory)
        return (given, kept), stream
