"""A second level of latents above the first, written so that both together are standard normal."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from vae_jax.networks.mlp import MLP

_UNIT_SCALE = 0.5413249  # softplus of it is 1


class TwoLevelDecoder(nn.Module):
    """z = (top, noise) -> what the body makes of lower = loc(top) + scale(top) noise.

    p(top) = N(0, I) and p(lower | top) = N(loc(top), diag(scale(top)^2)), non-centred: z is
    standard normal a priori (a learned prior of z reshapes both levels), and whatever takes a flat
    z takes this one (Papaspiliopoulos, Roberts, Sköld 2007, "A general framework for the
    parametrization of hierarchical models").

    Attributes:
        top_dim: coordinates of the upper level, the first of z.
        hidden_dims: of the network between the levels.
        body: reads the lower level.
        activation: between layers.
        dtype: in which layers compute; params and output are float32.
    """

    top_dim: int
    hidden_dims: tuple[int, ...]
    body: nn.Module
    activation: Callable = nn.relu
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, z: Float[Array, " latent"]) -> Float[Array, " output"]:
        """Map one `[latent]` to the body's output."""
        top, noise = jnp.split(z, [self.top_dim])
        between = MLP(self.hidden_dims, 2 * len(noise), self.activation, self.dtype, name="between")
        loc, unconstrained = jnp.split(between(top), 2)
        return self.body(loc + jax.nn.softplus(unconstrained + _UNIT_SCALE) * noise)
