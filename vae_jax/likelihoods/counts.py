"""Counts without an upper end: Poisson, and negative binomial where they spread more."""

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jaxtyping import Array, Float, Num

MIN_MEAN = 1e-3
"""Floor of a mean count before its logarithm is taken."""

_LEAST_CONCENTRATION, _MOST_CONCENTRATION = 0.1, 1e3
# Of a mean, far beyond any data: further out float32 loses densities or their gradients.
_LEAST_RATE, _MOST_LOG_RATE = 1e-10, 30.0


def poisson(log_rate: Float[Array, " dim"]) -> dist.Distribution:
    """Independent counts with these log rates."""
    return dist.Poisson(_rate(log_rate)).to_event(1)


def poisson_features(x: Num[Array | np.ndarray, "batch dim"]) -> Float[Array, " dim"]:
    """The logs of the mean counts."""
    return jnp.log(jnp.maximum(jnp.mean(x, axis=0, dtype=jnp.float32), MIN_MEAN))


def negative_binomial(
    log_mean: Float[Array, " dim"], log_concentration: Float[Array, " dim"]
) -> dist.Distribution:
    """Independent counts of variance mean + mean^2 (1 / concentration + 1 / 1000).

    Args:
        log_mean: the features.
        log_concentration: of each dimension (in scvi-tools' words, the inverse dispersion of a
            gene), the same for every z.
    """
    # Beyond the most it is a Poisson for all counts below thousands, and float32 loses it in log
    # gammas. A bound that is smooth lets training come back from there.
    dispersion = jnp.exp(-log_concentration) + 1 / _MOST_CONCENTRATION
    return dist.NegativeBinomial2(_rate(log_mean), 1 / dispersion).to_event(1)


def log_concentration(x: Num[Array | np.ndarray, "batch dim"]) -> Float[Array, " dim"]:
    """By the moments of each dimension, within bounds where it spreads no more than a Poisson."""
    mean, variance = jnp.mean(x, axis=0, dtype=jnp.float32), jnp.var(x, axis=0, dtype=jnp.float32)
    excess = jnp.maximum(variance - mean, mean**2 / _MOST_CONCENTRATION)
    concentration = mean**2 / jnp.maximum(excess, MIN_MEAN**2)
    return jnp.log(jnp.clip(concentration, _LEAST_CONCENTRATION, _MOST_CONCENTRATION))


def _rate(log_rate):
    return _LEAST_RATE + jnp.exp(jnp.minimum(log_rate, _MOST_LOG_RATE))
