"""A bias for every feature of every pixel, which layers that treat all pixels alike lack."""

import flax.linen as nn
import jax
from jaxtyping import Array, Float, Int


class Offset(nn.Module):
    """Adds a bias of its own to every feature.

    Attributes:
        size: features in all.
    """

    size: int

    def setup(self):
        """Zero at first; `with_output_bias` sets it."""
        self.bias = self.param("bias", nn.initializers.zeros, (self.size,))

    def __call__(self, features: Float[Array, " size"]) -> Float[Array, " size"]:
        """Of all pixels."""
        return features + self.bias

    def of_pixel(
        self, features: Float[Array, " per_pixel"], index: Int[Array, ""]
    ) -> Float[Array, " per_pixel"]:
        """Of one pixel."""
        size = len(features)
        return features + jax.lax.dynamic_slice_in_dim(self.bias, index * size, size)
