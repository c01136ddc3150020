"""How far annealing leaves log p(x) open under a model: both sides, on data the model made itself.

Real x have no exact posterior draw, so no upper bound. On pairs (z, x) simulated from the model
both sides are known, and their distance says what annealing with these settings is worth under this
model (bidirectional Monte Carlo: Grosse, Ancha, Roy 2016, arXiv 1606.02275).
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, PyTree
from scipy.stats import norm

from bayes_jax.annealing.engines import evidence_sandwich
from bayes_jax.annealing.moves import NUM_LEAPFROGS
from bayes_jax.annealing.settings import Schedule
from bayes_jax.errors import InputError
from bayes_jax.estimates import Evidence, mean_stderr
from bayes_jax.model import Guide, LatentModel, simulate


class Validation(NamedTuple):
    """Annealing on observations simulated from the model, in nats per observation.

    Attributes:
        evidence: both sides for each simulated x, kind SANDWICH, `[batch]`.
        z: the latents that made them, `[batch, latent]`.
        x: the observations.
        confidence: of the intervals.
        width: mean of upper - lower; its expectation is at least zero.
        width_stderr: of `width`, over the observations, both sides and all chains in it.
        width_interval: for the expected width, by the central limit theorem, `[2]`.
        certified: holds the mean of log p(x) over THESE observations with probability `confidence`
            at least, however wrong the chains may be: by Markov's inequality, for the product of
            independent unbiased estimates of p(x) / p(x) exceeds exp(b) at most so rarely, `[2]`.
    """

    evidence: Evidence
    z: Float[Array, "batch latent"]
    x: PyTree
    confidence: float
    width: Float[Array, ""]
    width_stderr: Float[Array, ""]
    width_interval: Float[Array, "2"]
    certified: Float[Array, "2"]

    @property
    def kl_bound(self) -> Float[Array, ""]:
        """Upper confidence limit of a bound on a divergence, in nats, for simulated x.

        KL(q || p(z | x)), q the law of one annealed draw resampled by the weights, averaged over x,
        is at most E[log p(x) - lower], and so at most the expected width. This is the upper end of
        the interval for that; it holds as the central limit theorem does.
        """
        return self.width_interval[1]


def validate_annealing(
    key: PRNGKeyArray,
    model: LatentModel,
    *,
    guide: Guide | None = None,
    num_simulations: int = 64,
    confidence: float = 0.95,
    num_chains: int = 16,
    num_temperatures: int | None = None,
    schedule: Schedule = "sigmoid",
    transition: str = "hmc",
    num_leapfrogs: int = NUM_LEAPFROGS,
    batch_size: int | None = None,
) -> Validation:
    """Simulate from the model, anneal from both sides, and say how far they are apart.

    Args:
        key: a PRNG key.
        model: p(z) p(x | z).
        guide: as in `annealed_evidence`, with the options below.
        num_simulations: observations.
        confidence: of the intervals.
        num_chains: per observation and side.
        num_temperatures: steps of each side.
        schedule: of inverse temperatures.
        transition: the moves.
        num_leapfrogs: gradients per move of "hmc".
        batch_size: observations in memory at once; None takes all.

    Returns:
        Validation.

    Raises:
        InputError: fewer than 2 simulations, a confidence outside (0, 1), and as in
            `annealed_evidence`.
    """
    if num_simulations < 2:
        raise InputError(
            f"num_simulations is {num_simulations}: expected at least 2 for a standard error"
        )
    if not 0 < confidence < 1:
        raise InputError(f"confidence is {confidence}: expected a probability between 0 and 1")
    key_simulate, key_anneal = jax.random.split(key)
    z, x = simulate(key_simulate, model, num_simulations)
    evidence = evidence_sandwich(
        key_anneal,
        model,
        z,
        x,
        guide=guide,
        num_chains=num_chains,
        num_temperatures=num_temperatures,
        schedule=schedule,
        transition=transition,
        num_leapfrogs=num_leapfrogs,
        batch_size=batch_size,
    )
    return certify(evidence, z, x, confidence=confidence)


def certify(
    evidence: Evidence, z: Float[Array, "batch latent"], x: PyTree, *, confidence: float
) -> Validation:
    """Width and certificate of a sandwich on independent simulated pairs.

    Each side of the certificate may fail with half of what the confidence leaves:
    P(mean lower - mean log p > b) <= exp(-b batch), and likewise above.

    Args:
        evidence: of kind SANDWICH.
        z: the latents behind x.
        x: the observations.
        confidence: of the intervals.
    """
    width = evidence.upper - evidence.lower
    mean, stderr = jnp.mean(width), mean_stderr(width)
    quantile = float(norm.ppf(0.5 + confidence / 2))
    slack = math.log(2 / (1 - confidence)) / len(width)
    return Validation(
        evidence,
        z,
        x,
        confidence,
        mean,
        stderr,
        mean + quantile * stderr * jnp.array([-1.0, 1.0]),
        jnp.array([jnp.mean(evidence.lower) - slack, jnp.mean(evidence.upper) + slack]),
    )
