"""Every model held against the same test images, in the same nats."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from bayes_jax import Evidence, GenerativeModel, sample_posterior, simulate
from bayes_jax.annealing import Validation
from bayes_jax.annealing.validation import certify
from vae_jax.comparison.decoders import bound
from vae_jax.comparison.methods import CONFIDENCE
from vae_jax.comparison.models import Trained
from vae_jax.configs import InferenceBudget
from vae_jax.objectives import active_units
from vae_jax.timing import timed

NUM_SAMPLES = 1000
NUM_TIMED_POSTERIORS = 8


class Scored(NamedTuple):
    """A fitted model held against the test images.

    Attributes:
        trained: the model.
        evidence: of the test images: by the family's default estimator, or where that anneals from
            the prior, by the budget's, as all decoders are.
        validation: both sides of log p(x) on simulated images, by the same; None where the evidence
            is exact, or only known from below.
        samples: images that the model drew, `[NUM_SAMPLES, dim]`.
        seconds_per_sample: to draw one image, compilation apart.
        seconds_per_evidence: to bound one image from one side, compilation apart.
        seconds_per_posterior: to draw the posterior of one of `NUM_TIMED_POSTERIORS` images by
            MCMC, compilation apart; None where it is exact, or there is none.
        active_units: latent units the guide uses, or None without a guide.
    """

    trained: Trained
    evidence: Evidence
    validation: Validation | None
    samples: Float[Array, "sample dim"]
    seconds_per_sample: float
    seconds_per_evidence: float
    seconds_per_posterior: float | None
    active_units: int | None


def score(
    key: PRNGKeyArray, trained: Trained, x: Float[Array, "image dim"], budget: InferenceBudget
) -> Scored:
    """Hold a fitted model against test images.

    Args:
        key: a PRNG key.
        trained: the model.
        x: the images.
        budget: of simulated images and of MCMC.

    Returns:
        Scored.
    """
    key_evidence, key_sample, key_sides, key_posterior = jax.random.split(key, 4)
    generative = trained.generative
    bounded = timed(lambda: _bounded(key_evidence, key_sides, generative, x, budget))
    evidence, validation = bounded.result
    sample = partial(generative.sample, key_sample, NUM_SAMPLES)
    timed(sample)
    sampled = timed(sample)
    active = None if generative.guide is None else int(active_units(generative.guide, x))
    return Scored(
        trained,
        evidence,
        validation,
        jnp.asarray(sampled.result, x.dtype),
        sampled.seconds / NUM_SAMPLES,
        bounded.seconds / (len(x) + 2 * (0 if validation is None else len(validation.x))),
        _posterior_seconds(key_posterior, generative, x[:NUM_TIMED_POSTERIORS], budget),
        active,
    )


def starts_from_prior(generative: GenerativeModel) -> bool:
    """Whether annealing has nothing but the prior to start from."""
    return generative.sandwich is not None and generative.guide is None


def _bounded(key, key_sides, generative, x, budget):
    """The evidence of x, and both sides on simulated images where the model has them."""
    if starts_from_prior(generative):
        return bound(key, generative.latent, x, budget)
    evidence = generative.log_evidence(key, x)
    return evidence, _both_sides(key_sides, generative, budget.num_simulations, x)


def _both_sides(key, generative, num: int, like) -> Validation | None:
    if generative.sandwich is None or num == 0:
        return None
    key_simulate, key_sides = jax.random.split(key)
    z, x = simulate(key_simulate, generative.latent, num)
    x = x.astype(like.dtype)
    return certify(generative.sandwich(key_sides, z, x), z, x, confidence=CONFIDENCE)


def _posterior_seconds(key, generative, x, budget: InferenceBudget) -> float | None:
    if generative.latent is None or generative.posterior is not None:
        return None
    done = timed(
        lambda: sample_posterior(
            key,
            generative.latent,
            x,
            guide=generative.guide,
            num_chains=budget.num_chains,
            num_samples=budget.num_reference_draws,
            batch_size=budget.batch_size,
        )
    )
    return done.seconds / len(x)
