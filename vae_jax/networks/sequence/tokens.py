"""From tokens to what is said of the next one, around any core."""

import flax.linen as nn
import jax
from jax.scipy.special import logsumexp
from jaxtyping import Array, Float, Int

_PLACES_AT_ONCE = 8
"""Logits of so many places are in memory together; the backward pass makes them anew."""


class TokenNetwork(nn.Module):
    """Embeds the token before, and scores the next one by its embedding.

    Both ends share one table (Press, Wolf 2017, arXiv 1608.05859). The token number `num_tokens`
    begins a sentence.

    Attributes:
        core: of the stream between, from `networks.sequence`.
        num_tokens: of the vocabulary.
        dropout_rate: of the embeddings and of what is scored, in training.
    """

    core: nn.Module
    num_tokens: int
    dropout_rate: float = 0.0

    def setup(self):
        """The table, and a bias for every token."""
        shape = (self.num_tokens + 1, self.core.width)
        self.table = self.param("table", nn.initializers.normal(0.05), shape)
        self.bias = self.param("bias", nn.initializers.zeros, (self.num_tokens,))
        self.dropout = nn.Dropout(self.dropout_rate)

    def __call__(
        self,
        previous: Int[Array, " place"],
        tokens: Int[Array, " place"],
        context: Float[Array, " context"],
        *,
        is_training: bool = False,
    ) -> Float[Array, " place"]:
        """log p of every token given the tokens before it, in nats.

        Args:
            previous: the token before each one, or what a decoder may know of it.
            tokens: to be scored.
            context: seen by all.
            is_training: drop features; then a "dropout" key is needed.
        """
        stream = self.dropout(self.table[previous], deterministic=not is_training)
        features = self.core(stream, context)
        features = self.dropout(features, deterministic=not is_training)
        return _scores(self.table[: self.num_tokens], self.bias, features, tokens)

    def start(self, context: Float[Array, " context"]):
        """What the core keeps."""
        return self.core.start(context)

    def advance(self, cache, index: Int[Array, ""], previous: Int[Array, ""]):
        """The logits of place `index`; `previous` is the token before it."""
        cache, features = self.core.advance(cache, index, self.table[previous])
        return cache, self.table[: self.num_tokens] @ features + self.bias


def _scores(table, bias, features, tokens):
    @jax.checkpoint
    def of_place(inputs):
        features, token = inputs
        logits = features @ table.T + bias  # a third less time on a CPU than table @ features
        return logits[token] - logsumexp(logits)

    return jax.lax.map(of_place, (features, tokens), batch_size=min(_PLACES_AT_ONCE, len(tokens)))
