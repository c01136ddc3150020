"""Did the chains of each x converge? Rank-normalised split R-hat, ESS, E-BFMI, divergences.

BlackJAX's estimators, which follow Vehtari et al. 2021 (arXiv 1903.08008), mapped over latents and
observations; all jittable.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from blackjax.diagnostics import effective_sample_size, ess_bulk, ess_tail, rhat
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Int

from bayes_jax.estimates import Draws

MAX_RHAT = 1.01
MIN_ESS_PER_CHAIN = 100
MIN_EBFMI = 0.3


class Diagnostics(NamedTuple):
    """Per observation and latent.

    Attributes:
        rhat: rank-normalised split R-hat, `[batch, latent]`.
        ess_bulk: effective draws for the mean, `[batch, latent]`.
        ess_tail: for the 5% and 95% quantiles, `[batch, latent]`.
        mcse_mean: Monte Carlo standard error of the posterior mean, `[batch, latent]`.
        ebfmi: energy fraction, the smallest over chains, `[batch]`.
        diverging: number of divergences, `[batch]`.
        valid: False where something was not finite, `[batch]`.
    """

    rhat: Float[Array, "batch latent"]
    ess_bulk: Float[Array, "batch latent"]
    ess_tail: Float[Array, "batch latent"]
    mcse_mean: Float[Array, "batch latent"]
    ebfmi: Float[Array, " batch"]
    diverging: Int[Array, " batch"]
    valid: Bool[Array, " batch"]

    def converged(self, num_chains: int) -> Bool[Array, " batch"]:
        """Whether an x passes every threshold: R-hat, ESS per chain, E-BFMI, finiteness."""
        return (
            self.valid
            & (jnp.max(self.rhat, axis=-1) < MAX_RHAT)
            & (jnp.min(self.ess_bulk, axis=-1) >= MIN_ESS_PER_CHAIN * num_chains)
            & (jnp.min(self.ess_tail, axis=-1) >= MIN_ESS_PER_CHAIN * num_chains)
            & (self.ebfmi >= MIN_EBFMI)
            & (self.diverging == 0)
        )


@jax.jit
def diagnose(draws: Draws) -> Diagnostics:
    """Diagnose the draws of a batch.

    Args:
        draws: at least 2 chains and 4 draws each; leaves of z `[batch, chain, draw, ...]`, made
            one latent axis.

    Returns:
        Diagnostics.
    """
    flat = jax.vmap(jax.vmap(jax.vmap(lambda z: ravel_pytree(z)[0])))(draws.z)
    latents = jnp.moveaxis(flat, -1, 1)

    def each(function):
        return jax.vmap(jax.vmap(function))(latents)

    return Diagnostics(
        rhat=each(rhat),
        ess_bulk=each(ess_bulk),
        ess_tail=each(ess_tail),
        mcse_mean=jnp.std(latents, axis=(-2, -1), ddof=1) / jnp.sqrt(each(_mean_ess)),
        ebfmi=jnp.min(energy_fraction(draws.energy), axis=-1),
        diverging=draws.diverging,
        valid=draws.valid,
    )


def _mean_ess(latent: Float[Array, "chain draw"]) -> Float[Array, ""]:
    """Effective draws for the plain mean: split chains, no ranks."""
    half = latent.shape[-1] // 2
    halves = jnp.concatenate([latent[:, :half], latent[:, -half:]])
    return effective_sample_size(halves)


def energy_fraction(energy: Float[Array, "*batch draw"]) -> Float[Array, "*batch"]:
    """E-BFMI: mean squared change of the energy over its variance (Betancourt, arXiv 1604.00695).

    Below 0.3 the momentum draws do not move the energy through its range.
    """
    change = jnp.mean(jnp.diff(energy, axis=-1) ** 2, axis=-1)
    return change / jnp.var(energy, axis=-1)
