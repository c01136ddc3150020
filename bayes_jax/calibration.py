"""Is an approximate posterior calibrated? Coverage of its intervals on simulated data.

Averaged over p(x, z), a central interval of the TRUE posterior covers the simulated z with exactly
its nominal probability (Cook, Gelman, Rubin 2006); an overconfident q covers less.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float


class Coverage(NamedTuple):
    """Share of latents whose simulated value lies inside its central interval.

    Attributes:
        share: between 0 and 1.
        stderr: its standard error over the simulated observations.
    """

    share: Float[Array, ""]
    stderr: Float[Array, ""]


def interval_coverage(
    z: Float[Array, "batch latent"],
    draws: Float[Array, "batch draw latent"],
    *,
    probability: float = 0.9,
) -> Coverage:
    """Coverage of the central intervals of `draws`, one set for each simulated z.

    Args:
        z: the values that made each x.
        draws: draws of the approximate posterior of that x, equally weighted.
        probability: nominal coverage.

    Returns:
        Coverage; its error takes observations as independent and the latents of one as not.
    """
    tail = (1 - probability) / 2
    low, high = jnp.quantile(draws, jnp.array([tail, 1 - tail]), axis=1)
    inside = jnp.mean((z >= low) & (z <= high), axis=-1)
    return Coverage(jnp.mean(inside), jnp.std(inside, ddof=1) / jnp.sqrt(len(inside)))
