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
    """

    core: nn.Module
    num_tokens: int
    num_features: int

    def setup(self):
        """The embeddings and the way out."""
        small = nn.initializers.normal(0.05)
        self.embedding = nn.Embed(self.num_tokens, self.core.width, embedding_init=small)
        self.output = nn.Dense(self.num_features)

    def __call__(self, tokens: Int[Array, " length"]) -> Float[Array, " features"]:
        """Map a row `[length]` to `[num_features]`; what is after its end is not looked at."""
        stream = self.core(self.embedding(tokens), jnp.zeros(0))
        return self.output(jnp.mean(stream, axis=0, where=in_sentence(tokens)[:, None]))
