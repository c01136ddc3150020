"""From a whole row of tokens to features of it."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from bayes_jax.sequences import in_sentence


class TokenEncoder(nn.Module):
    """What a core says at the places of a sentence, averaged, then a dense layer.

    Attributes:
        core: from `networks.sequence`.
        num_tokens: of the vocabulary.
        num_features: out.
        dropout_rate: of the embeddings and of the average, in training.
    """

    core: nn.Module
    num_tokens: int
    num_features: int
    dropout_rate: float = 0.0

    def setup(self):
        """The embeddings and the way out."""
        small = nn.initializers.normal(0.05)
        self.embedding = nn.Embed(self.num_tokens, self.core.width, embedding_init=small)
        self.output = nn.Dense(self.num_features)
        self.dropout = nn.Dropout(self.dropout_rate)

    def __call__(
        self, tokens: Int[Array, " length"], *, is_training: bool = False
    ) -> Float[Array, " features"]:
        """What a row says as a whole.

        Args:
            tokens: a row; what is after its end is not looked at.
            is_training: drop features; then a "dropout" key is needed.
        """
        stream = self.dropout(self.embedding(tokens), deterministic=not is_training)
        stream = self.core(stream, jnp.zeros(0))
        mean = jnp.mean(stream, axis=0, where=in_sentence(tokens)[:, None])
        return self.output(self.dropout(mean, deterministic=not is_training))
