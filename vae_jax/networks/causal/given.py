"""What a context adds to the features of every pixel."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float


class Given(nn.Module):
    """A linear map of the context; nothing where there is none.

    Attributes:
        size: features out.
    """

    size: int

    @nn.compact
    def __call__(self, context: Float[Array, " context"]) -> Float[Array, " size"]:
        """Map `[context]` to `[size]`."""
        return (
            nn.Dense(self.size, use_bias=False)(context) if len(context) else jnp.zeros(self.size)
        )
