"""How many independent draws are the draws of some chains worth? ONE latent at a time, jittable.

Vehtari et al. 2021 (arXiv 1903.08008) with Geyer's truncation as Stan and ArviZ do it; BlackJAX 1.7
truncates otherwise where a late autocorrelation is positive, and lands up to 2 % away.
"""

import jax
import jax.numpy as jnp
from jax.scipy.special import ndtri
from jax.scipy.stats import rankdata
from jaxtyping import Array, Float

TAIL_PROBABILITIES = (0.05, 0.95)


def ess_mean(latent: Float[Array, "chain draw"]) -> Float[Array, ""]:
    """Effective draws behind the plain mean."""
    return _effective_size(_split(latent))


def ess_bulk(latent: Float[Array, "chain draw"]) -> Float[Array, ""]:
    """Effective draws in the bulk: of the normal scores of the ranks, so that tails do not rule."""
    halves = _split(latent)
    scores = ndtri((rankdata(halves).reshape(halves.shape) - 3 / 8) / (halves.size + 1 / 4))
    return _effective_size(scores)


def ess_tail(latent: Float[Array, "chain draw"]) -> Float[Array, ""]:
    """Effective draws behind the 5% and 95% quantiles, the smaller of the two."""
    quantiles = jnp.quantile(latent, jnp.array(TAIL_PROBABILITIES))
    below = _split(latent)[None] <= quantiles[:, None, None]
    return jnp.min(jax.vmap(_effective_size)(below.astype(latent.dtype)))


def _split(latent: Float[Array, "chain draw"]) -> Float[Array, "half draw_of_half"]:
    """The halves of every chain as chains; without the middle one of an odd number of draws."""
    half = latent.shape[-1] // 2
    return jnp.concatenate([latent[:, :half], latent[:, -half:]])


def _effective_size(chains: Float[Array, "chain draw"]) -> Float[Array, ""]:
    """Draws over the integrated autocorrelation time; NaN where nothing moves."""
    num_chains, num_draws = chains.shape
    rho = _autocorrelation(chains)
    pairs = rho[: num_draws // 2 * 2].reshape(-1, 2).sum(axis=1)
    # Geyer: sums of neighbours are positive and fall; the first that is not ends the series, and
    # from it the even term is kept alone where it is positive.
    most = max(-(-(num_draws - 4) // 2), 0)
    num_kept = jnp.minimum(jnp.sum(jnp.cumprod(pairs > 0)), most)
    kept = jnp.where(jnp.arange(len(pairs)) < num_kept, jax.lax.cummin(pairs), 0.0)
    time = -1 + 2 * jnp.sum(kept) + jnp.maximum(rho[2 * num_kept], 0.0)
    total = num_chains * num_draws
    return total / jnp.maximum(time, 1 / jnp.log10(total))


def _autocorrelation(chains: Float[Array, "chain draw"]) -> Float[Array, " draw"]:
    """At every lag, of all chains about their own means, held against the pooled variance."""
    num_draws = chains.shape[1]
    means = jnp.mean(chains, axis=1)
    spectrum = jnp.fft.rfft(chains - means[:, None], n=2 * num_draws, axis=1)
    covariance = jnp.fft.irfft(jnp.abs(spectrum) ** 2, n=2 * num_draws, axis=1)
    covariance = jnp.mean(covariance[:, :num_draws], axis=0) / num_draws
    within = covariance[0] * num_draws / (num_draws - 1)
    pooled = covariance[0] + jnp.var(means, ddof=1)
    return (1 - (within - covariance) / pooled).at[0].set(1.0)
