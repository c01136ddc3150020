"""Normal pixels: a learned scale for each, one learned scale for all, or a fixed one."""

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jaxtyping import Array, Float

from vae_jax.likelihoods.head import positive_scale, unconstrained_scale


def gaussian(features: Float[Array, " features"], *, min_scale: float) -> dist.Distribution:
    """Independent normal pixels, each with a scale of its own: min_scale + softplus(unconstrained).

    Args:
        features: `[dim * 2]`, of each pixel its loc and unconstrained scale.
        min_scale: floor of the scale, the square root of the least variance.

    Returns:
        A distribution with event shape `[dim]`.
    """
    loc, unconstrained = features.reshape(-1, 2).T
    return normal(loc, positive_scale(unconstrained, min_scale=min_scale))


def normal(loc: Float[Array, " dim"], scale: Float[Array, "*dim"] | float) -> dist.Distribution:
    """Independent normal pixels around `loc`; the scale is `[dim]`, or `[]` for all pixels."""
    return dist.Normal(loc, jnp.broadcast_to(scale, loc.shape)).to_event(1)


def pixel_means(x: Float[Array | np.ndarray, "batch dim"]) -> Float[Array, " dim"]:
    """The features of a head whose features are means."""
    return jnp.mean(x, axis=0, dtype=jnp.float32)


def gaussian_features(
    x: Float[Array | np.ndarray, "batch dim"], *, min_scale: float
) -> Float[Array, " features"]:
    """The features at which `gaussian` has the pixel means and standard deviations of a batch.

    Args:
        x: a batch of observations.
        min_scale: floor of the scale.

    Returns:
        `[dim * 2]`.
    """
    scale = unconstrained_scale(jnp.std(x, axis=0), min_scale=min_scale)
    return jnp.stack([pixel_means(x), scale], axis=-1).reshape(-1)


def shared_scale(
    x: Float[Array | np.ndarray, "batch dim"], *, min_scale: float
) -> Float[Array, ""]:
    """The unconstrained scale that all pixels share at first: their root mean variance."""
    scale = jnp.sqrt(jnp.mean(jnp.var(x, axis=0)))
    return unconstrained_scale(scale, min_scale=min_scale)
