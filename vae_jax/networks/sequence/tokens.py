"""From tokens to what is said of the next one, around any core."""

import flax.linen as nn
from jaxtyping import Array, Float, Int

from vae_jax.networks.sequence.scores import row_scores, scores_in_batch


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
        batch_axis: str | None = None,
    ) -> Float[Array, " place"]:
        """log p of every token given the tokens before it, in nats.

        Args:
            previous: the token before each one, or what a decoder may know of it.
            tokens: to be scored.
            context: seen by all.
            batch_axis: in training the name of the `vmap` over rows, which are scored together.
                Then features are dropped, and a "dropout" key is needed.
        """
        is_training = batch_axis is not None
        stream = self.dropout(self.table[previous], deterministic=not is_training)
        features = self.core(stream, context)
        features = self.dropout(features, deterministic=not is_training)
        scored = self.table[: self.num_tokens], self.bias, features, tokens
        if is_training:
            return scores_in_batch(*scored, axis_name=batch_axis)
        return row_scores(*scored)

    def start(self, context: Float[Array, " context"]):
        """What the core keeps."""
        return self.core.start(context)

    def advance(self, cache, index: Int[Array, ""], previous: Int[Array, ""]):
        """The logits of place `index`; `previous` is the token before it."""
        cache, features = self.core.advance(cache, index, self.table[previous])
        return cache, self.table[: self.num_tokens] @ features + self.bias
