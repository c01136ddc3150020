"""Encoder features -> q(z | x), for one x."""

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jaxtyping import Array, Float

MIN_SCALE = 1e-4
"""Floor of every posterior scale: below any useful one, above where its logarithm is lost."""


def mean_field(features: Float[Array, " features"]) -> dist.Distribution:
    """q(z | x) = N(loc, diag(scale^2)), with scale = MIN_SCALE + softplus(unconstrained).

    Args:
        features: `[2 * latent]`, loc followed by the unconstrained scale.

    Returns:
        A distribution with event shape `[latent]`.
    """
    loc, unconstrained = jnp.split(features, 2)
    return normal(loc, unconstrained)


def normal(
    loc: Float[Array, " latent"], unconstrained: Float[Array, " latent"]
) -> dist.Distribution:
    """N(loc, diag(scale^2)) with scale = MIN_SCALE + softplus(unconstrained)."""
    return dist.Normal(loc, MIN_SCALE + jax.nn.softplus(unconstrained)).to_event(1)
