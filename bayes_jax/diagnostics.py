"""Did the chains of each x converge? Rank-normalised split R-hat, ESS, E-BFMI, divergences.

The estimators of Vehtari et al. 2021 (arXiv 1903.08008), BlackJAX's R-hat among them, mapped over
latents and observations; all jittable.
"""

from enum import IntFlag
from typing import NamedTuple

import jax
import jax.numpy as jnp
from blackjax.diagnostics import rhat
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Int

from bayes_jax.effective_size import ess_bulk, ess_mean, ess_tail
from bayes_jax.estimates import Draws

MAX_RHAT = 1.01
MIN_ESS_PER_CHAIN = 100
MIN_EBFMI = 0.3


class Fault(IntFlag):
    """What is wrong with the chains of an x; bits, so that an array holds several."""

    NOT_FINITE = 1
    OTHER_MODES = 2
    CHAINS_DISAGREE = 4
    LOW_BULK_ESS = 8
    LOW_TAIL_ESS = 16
    LOW_EBFMI = 32
    DIVERGENCES = 64


# What each fault is, and what to do about it.
ADVICE = {
    Fault.NOT_FINITE: "the log density or a draw is not finite: mend the model or the starts",
    Fault.OTHER_MODES: (
        "chains from the prior found what those from the guide did not: the posterior has modes "
        "that the guide misses; start from the prior (guide=None) or sample with annealing"
    ),
    Fault.CHAINS_DISAGREE: f"R-hat above {MAX_RHAT}: more warm-up, more draws, or more leapfrogs",
    Fault.LOW_BULK_ESS: f"bulk ESS below {MIN_ESS_PER_CHAIN} per chain: more draws",
    Fault.LOW_TAIL_ESS: f"tail ESS below {MIN_ESS_PER_CHAIN} per chain: more draws",
    Fault.LOW_EBFMI: (
        f"E-BFMI below {MIN_EBFMI}: heavy tails or a funnel; change the coordinates of the model"
    ),
    Fault.DIVERGENCES: "divergences: more warm-up, or other coordinates where the density is steep",
}


class Diagnostics(NamedTuple):
    """Per observation and latent.

    Attributes:
        rhat: rank-normalised split R-hat, `[batch, latent]`.
        rhat_guided: the same over the chains that did not start from the prior beside a guide,
            `[batch, latent]`.
        ess_bulk: effective draws for the mean, `[batch, latent]`.
        ess_tail: for the 5% and 95% quantiles, `[batch, latent]`.
        mcse_mean: Monte Carlo standard error of the posterior mean, `[batch, latent]`.
        ebfmi: energy fraction, the smallest over chains, `[batch]`.
        diverging: number of divergences, `[batch]`.
        valid: False where something was not finite, `[batch]`.
        num_chains: of each x, `[batch]`.
    """

    rhat: Float[Array, "batch latent"]
    rhat_guided: Float[Array, "batch latent"]
    ess_bulk: Float[Array, "batch latent"]
    ess_tail: Float[Array, "batch latent"]
    mcse_mean: Float[Array, "batch latent"]
    ebfmi: Float[Array, " batch"]
    diverging: Int[Array, " batch"]
    valid: Bool[Array, " batch"]
    num_chains: Int[Array, " batch"]


class Verdict(NamedTuple):
    """Whether to believe the chains of each x, and if not, why.

    Attributes:
        diagnostics: the figures behind it.
        faults: bits of `Fault`, 0 where every threshold is met, `[batch]`.
    """

    diagnostics: Diagnostics
    faults: Int[Array, " batch"]

    @property
    def converged(self) -> Bool[Array, " batch"]:
        """Whether an x has no fault."""
        return self.faults == 0

    def reasons(self, index: int) -> list[str]:
        """What failed for one x and what to do, a line each; empty if it converged.

        Args:
            index: of the x.
        """
        return [ADVICE[fault] for fault in Fault(int(self.faults[index]))]

    def counts(self) -> dict[Fault, int]:
        """How many x have each fault that occurs."""
        faults = [int(found) for found in self.faults]
        counts = {fault: sum(fault in Fault(found) for found in faults) for fault in Fault}
        return {fault: count for fault, count in counts.items() if count}

    def summary(self) -> str:
        """One line: how many x converged, and how many have which fault."""
        faults = [
            f"{fault.name.lower().replace('_', ' ')}: {count}"
            for fault, count in self.counts().items()
        ]
        total = f"{int(self.converged.sum())} of {len(self.faults)} converged"
        return "; ".join([total, ", ".join(faults)] if faults else [total])


def verdict(draws: Draws) -> Verdict:
    """Diagnose the draws of a batch and judge each x.

    Args:
        draws: as in `diagnose`.
    """
    return judge(diagnose(draws))


@jax.jit
def judge(found: Diagnostics) -> Verdict:
    """Hold diagnostics against the thresholds: R-hat, ESS per chain, E-BFMI, divergences.

    Where the chains disagree as a whole, but those from the guide agree with each other, the fault
    is `OTHER_MODES`: R-hat of a guide's chains alone cannot see a mode that they all miss.
    """

    def failed(fault: Fault, passed: Bool[Array, " batch"]) -> Int[Array, " batch"]:
        # A NaN passes nothing.
        return jnp.where(passed, 0, int(fault))

    enough = MIN_ESS_PER_CHAIN * found.num_chains
    agree = jnp.max(found.rhat, axis=-1) < MAX_RHAT
    agree_guided = jnp.max(found.rhat_guided, axis=-1) < MAX_RHAT
    faults = (
        failed(Fault.NOT_FINITE, found.valid)
        + failed(Fault.OTHER_MODES, agree | ~agree_guided)
        + failed(Fault.CHAINS_DISAGREE, agree | agree_guided)
        + failed(Fault.LOW_BULK_ESS, jnp.min(found.ess_bulk, axis=-1) >= enough)
        + failed(Fault.LOW_TAIL_ESS, jnp.min(found.ess_tail, axis=-1) >= enough)
        + failed(Fault.LOW_EBFMI, found.ebfmi >= MIN_EBFMI)
        + failed(Fault.DIVERGENCES, found.diverging == 0)
    )
    return Verdict(found, faults)


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
    guided = jnp.moveaxis(jax.vmap(_guided)(flat, draws.from_prior), -1, 1)

    def each(function, latents=latents):
        return jax.vmap(jax.vmap(function))(latents)

    num_batch, _, num_chains, _ = latents.shape
    return Diagnostics(
        rhat=each(_rhat),
        rhat_guided=each(_rhat, guided),
        ess_bulk=each(ess_bulk),
        ess_tail=each(ess_tail),
        mcse_mean=jnp.std(latents, axis=(-2, -1), ddof=1) / jnp.sqrt(each(ess_mean)),
        ebfmi=jnp.min(energy_fraction(draws.energy), axis=-1),
        diverging=draws.diverging,
        valid=draws.valid,
        num_chains=jnp.full(num_batch, num_chains),
    )


@jax.jit
def worst_rhat(z: Float[Array, "batch chain draw latent"]) -> Float[Array, " batch"]:
    """Rank-normalised split R-hat of the latent of each x whose chains agree the least.

    Args:
        z: of any sampler.
    """
    return jnp.max(jax.vmap(jax.vmap(_rhat))(jnp.moveaxis(z, -1, 1)), axis=1)


def _rhat(latent: Float[Array, "chain draw"]) -> Float[Array, ""]:
    """Without the middle one of an odd number of draws, as ArviZ splits them."""
    half = latent.shape[1] // 2
    return rhat(jnp.concatenate([latent[:, :half], latent[:, -half:]], axis=1))


def _guided(flat: Float[Array, "chain draw latent"], from_prior: Bool[Array, " chain"]):
    """The chains of the guide, over again in place of those from the prior: shapes stay fixed."""
    order = jnp.argsort(from_prior)
    num_guided = jnp.maximum(jnp.sum(~from_prior), 1)
    return flat[order[jnp.arange(len(order)) % num_guided]]


def energy_fraction(energy: Float[Array, "*batch draw"]) -> Float[Array, "*batch"]:
    """E-BFMI: mean squared change of the energy over its variance (Betancourt, arXiv 1604.00695).

    Below 0.3 the momentum draws do not move the energy through its range.
    """
    change = jnp.mean(jnp.diff(energy, axis=-1) ** 2, axis=-1)
    return change / jnp.var(energy, axis=-1, ddof=1)
