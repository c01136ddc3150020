"""What the engines return: documented NamedTuples of arrays, and the log-mean-exp behind them.

Every density is a positive log p in nats, per observation.
"""

from enum import IntEnum
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.special import logsumexp
from jaxtyping import Array, Bool, Float, Int, PyTree


class EvidenceKind(IntEnum):
    """What an `Evidence` claims."""

    EXACT = 0  #: lower == upper == log p(x)
    LOWER = 1  #: E[lower] <= log p(x); upper = +inf
    SANDWICH = 2  #: E[lower] <= log p(x) <= E[upper]
    ESTIMATE = 3  #: consistent, but a bound on neither side; lower == upper


class Evidence(NamedTuple):
    """log p(x) of a batch of observations, in nats per observation.

    Attributes:
        lower: `[batch]`, the value from below; NaN for an x that went wrong.
        upper: `[batch]`, the value from above; +inf where there is none.
        stderr_lower: `[batch]`, Monte Carlo standard error of `lower`.
        stderr_upper: `[batch]`, of `upper`.
        kind: one `EvidenceKind` for the whole batch.
    """

    lower: Float[Array, " batch"]
    upper: Float[Array, " batch"]
    stderr_lower: Float[Array, " batch"]
    stderr_upper: Float[Array, " batch"]
    kind: EvidenceKind

    @property
    def valid(self) -> Bool[Array, " batch"]:
        """False for an x of which a weight met NaN or +inf: nothing is known of it."""
        return ~(jnp.isnan(self.lower) | jnp.isnan(self.upper))


class Draws(NamedTuple):
    """Posterior draws for a batch of observations.

    Attributes:
        z: leaves `[batch, chain, draw, ...]`.
        log_joint: log p(x, z) of each draw in nats, `[batch, chain, draw]`.
        energy: Hamiltonian at the start of each kept trajectory in nats, `[batch, chain, draw]`.
        accept: mean acceptance probability of the kept transitions, `[batch]`.
        diverging: how many kept transitions diverged, `[batch]`.
        num_grads: gradients of log p spent on this x, all chains, warm-up included, `[batch]`.
        valid: False for an x whose density or draws were not finite, `[batch]`.
        from_prior: chains that were started wide beside a guide, `[batch, chain]`.
    """

    z: PyTree
    log_joint: Float[Array, "batch chain draw"]
    energy: Float[Array, "batch chain draw"]
    accept: Float[Array, " batch"]
    diverging: Int[Array, " batch"]
    num_grads: Int[Array, " batch"]
    valid: Bool[Array, " batch"]
    from_prior: Bool[Array, "batch chain"]

    def pooled(self, *, every: int = 1) -> Float[Array, "batch sample latent"]:
        """Chains and draws on one axis, for z an array.

        Of an x whose verdict tells of other modes no average is to be trusted: how much mass a mode
        has, chains that stay in theirs cannot tell.

        Args:
            every: keep one of so many draws of a chain.
        """
        kept = self.z[:, :, ::every]
        return kept.reshape(len(kept), -1, kept.shape[-1])


class WeightedDraws(NamedTuple):
    """Draws that stand for the posterior through their weights, for a batch of observations.

    Attributes:
        z: `[batch, sample, latent]`.
        log_weight: unnormalised, E[exp(log_weight)] = p(x), in nats, `[batch, sample]`.
        num_grads: gradients of log p spent on this x, tuning included, `[batch]`.
    """

    z: Float[Array, "batch sample latent"]
    log_weight: Float[Array, "batch sample"]
    num_grads: Int[Array, " batch"]

    def mean(self) -> Float[Array, "batch latent"]:
        """Self-normalised estimate of the posterior mean."""
        return jnp.einsum("bs,bsl->bl", jax.nn.softmax(self.log_weight, axis=-1), self.z)

    def evidence(self) -> Evidence:
        """log mean weight, a stochastic lower bound on log p(x)."""
        return lower_evidence(log_mean_exp(self.log_weight), log_mean_exp_stderr(self.log_weight))

    def elbo(self) -> Evidence:
        """Mean log weight: the ELBO of whatever the draws come from."""
        return lower_evidence(jnp.mean(self.log_weight, axis=-1), mean_stderr(self.log_weight))


class Gaps(NamedTuple):
    """Where a guide loses nats, per observation (Cremer, Li, Duvenaud 2018, arXiv 1801.03558).

    Attributes:
        log_evidence: best lower value of log p(x), `[batch]`.
        elbo: ELBO of the guide, `[batch]`.
        elbo_optimal: best ELBO in the family, reached by q* fitted to this x, `[batch]`.
        approximation: log_evidence - elbo_optimal = KL(q* || p(z | x)), `[batch]`.
        amortization: elbo_optimal - elbo, `[batch]`.
        stderr_log_evidence: Monte Carlo standard error, `[batch]`.
        stderr_elbo: Monte Carlo standard error, `[batch]`.
        stderr_elbo_optimal: Monte Carlo standard error, `[batch]`.
        stderr_approximation: Monte Carlo standard error, `[batch]`.
        stderr_amortization: Monte Carlo standard error, `[batch]`.
        stderr_total: of approximation + amortization, in which the error of elbo_optimal cancels,
            `[batch]`.
        evidence_width: how far the mean of log_evidence may lie below that of log p(x), in nats, as
            measured on x simulated from the model: upper end of the interval for the width of the
            sandwich. 0 for exact evidence, NaN where nobody measured it.
    """

    log_evidence: Float[Array, " batch"]
    elbo: Float[Array, " batch"]
    elbo_optimal: Float[Array, " batch"]
    approximation: Float[Array, " batch"]
    amortization: Float[Array, " batch"]
    stderr_log_evidence: Float[Array, " batch"]
    stderr_elbo: Float[Array, " batch"]
    stderr_elbo_optimal: Float[Array, " batch"]
    stderr_approximation: Float[Array, " batch"]
    stderr_amortization: Float[Array, " batch"]
    stderr_total: Float[Array, " batch"]
    evidence_width: Float[Array, ""]


def log_mean_exp(log_weights: Float[Array, "*batch sample"]) -> Float[Array, "*batch"]:
    """log (1/K) sum_k exp(log_weights_k), without overflow.

    Args:
        log_weights: in nats, the samples on the last axis.

    Returns:
        In nats.
    """
    return logsumexp(log_weights, axis=-1) - jnp.log(log_weights.shape[-1])


def log_mean_exp_stderr(log_weights: Float[Array, "*batch sample"]) -> Float[Array, "*batch"]:
    """Standard error of `log_mean_exp` over independent weights, by the delta method.

    With w the weights: sd(w) / (mean(w) sqrt(K)). NaN for a single sample, whose spread is unknown.

    Args:
        log_weights: in nats, the samples on the last axis.

    Returns:
        In nats.
    """
    num_samples = log_weights.shape[-1]
    if num_samples < 2:
        return jnp.full(log_weights.shape[:-1], jnp.nan)
    relative = num_samples * jax.nn.softmax(log_weights, axis=-1)
    return jnp.std(relative, axis=-1, ddof=1) / jnp.sqrt(num_samples)


def exact_evidence(log_prob: Float[Array, " batch"]) -> Evidence:
    """Evidence known in closed form: both sides equal, no error."""
    zero = jnp.zeros_like(log_prob)
    log_prob = _from_below(log_prob)
    return Evidence(log_prob, log_prob, zero, zero, EvidenceKind.EXACT)


def lower_evidence(value: Float[Array, " batch"], stderr: Float[Array, " batch"]) -> Evidence:
    """Evidence from below only: the other side is +inf and its error unknown."""
    return Evidence(
        _from_below(value),
        jnp.full_like(value, jnp.inf),
        stderr,
        jnp.full_like(value, jnp.nan),
        EvidenceKind.LOWER,
    )


def sandwich_evidence(
    lower: Float[Array, " batch"], upper: Float[Array, " batch"], stderr: Float[Array, " batch"]
) -> Evidence:
    """Evidence from both sides; the error is that of the lower, the upper's is unknown."""
    unknown = jnp.full_like(upper, jnp.nan)
    upper = -_from_below(-upper)
    return Evidence(_from_below(lower), upper, stderr, unknown, EvidenceKind.SANDWICH)


def estimated_evidence(value: Float[Array, " batch"], stderr: Float[Array, " batch"]) -> Evidence:
    """Evidence that is consistent but bounds log p(x) on neither side: both sides equal."""
    value = _from_below(value)
    return Evidence(value, value, stderr, stderr, EvidenceKind.ESTIMATE)


def _from_below(value):
    """No mean weight is infinite but by a density that is not finite: such a value says nothing."""
    return jnp.where(value < jnp.inf, value, jnp.nan)


def mean_stderr(values: Float[Array, "*batch sample"]) -> Float[Array, "*batch"]:
    """Standard error of a plain mean over the last axis; NaN for one sample."""
    num_samples = values.shape[-1]
    if num_samples < 2:
        return jnp.full(values.shape[:-1], jnp.nan)
    return jnp.std(values, axis=-1, ddof=1) / jnp.sqrt(num_samples)
