"""What a context adds to the features of every pixel."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float


class Given(nn.Module):
    """A linear map of the context; nothing where there is none.

    Attributes:
        size: features out.
        scale: of what a context of unit scale adds at first.
    """

    size: int
    scale: float = 1.0

    @nn.compact
    def __call__(self, context: Float[Array, " context"]) -> Float[Array, " size"]:
        """Map `[context]` to `[size]`."""
        if not len(context):
            return jnp.zeros(self.size)
        kernel_init = nn.initializers.variance_scaling(self.scale**2, "fan_in", "truncated_normal")
        return nn.Dense(self.size, use_bias=False, kernel_init=kernel_init)(context)
