"""The ways to p(z | x) and p(x) that are compared, each a function `(key, setting, x) -> Outcome`.

The same function runs on test images and on images simulated from the model, where the true z is
known and coverage can be measured. Where there are several devices, the engines share the images.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from bayes_jax import (
    Evidence,
    Guide,
    LatentModel,
    annealed_draws,
    evidence_sandwich,
    fit_posterior,
    importance_draws,
    pareto_k_hat,
    sample_posterior,
    verdict,
)
from bayes_jax.annealing import Validation
from bayes_jax.annealing.validation import certify
from bayes_jax.diagnostics import Verdict
from bayes_jax.estimates import sandwich_evidence
from bayes_jax.exact import quadrature
from bayes_jax.families import FAMILIES
from bayes_jax.smc import smc_runs
from bayes_jax.variational import FittedPosterior, guides_family, sample_fitted
from vae_jax.configs import InferenceBudget
from vae_jax.sharding.observations import gathering

NUM_SEMI_AMORTIZED_STEPS = 10
NUM_COVERAGE_DRAWS = 1000
CONFIDENCE = 0.95


class Engines(NamedTuple):
    """What the long inferences run on: as those of `bayes_jax`, on all devices there are."""

    sample_posterior: Callable = gathering(sample_posterior)
    annealed_draws: Callable = gathering(annealed_draws)
    evidence_sandwich: Callable = gathering(evidence_sandwich)
    fit_posterior: Callable = gathering(fit_posterior)


class Setting(NamedTuple):
    """What every inference is given.

    Attributes:
        model: p(z) p(x | z), decoder frozen.
        guide: the amortized q(z | x), or None.
        budget: how much each may spend.
        engines: that the long ones run on.
    """

    model: LatentModel
    guide: Guide | None
    budget: InferenceBudget
    engines: Engines = Engines()


class Outcome(NamedTuple):
    """What one inference found for a batch of images; None where it says nothing.

    Attributes:
        evidence: log p(x), `[image]`.
        mean: posterior mean, `[image, latent]`.
        scale: posterior standard deviation, `[image, latent]`.
        draws: of its posterior approximation, `[image, draw, latent]`.
        k_hat: Pareto k-hat of its importance weights, `[image]`.
        verdict: on chains.
        fitted: q*, where this is one.
        grid: the exact posterior, where this is it.
        log_weight: of annealed chains in nats, `[image, chain]`.
        log_joint: log p(x, z) of MCMC draws in nats, `[image, chain, draw]`; `draws` has chains and
            draws on one axis.
        decoder_calls: evaluations or gradients of p(x | z) per image.
    """

    evidence: Evidence | None = None
    mean: Float[Array, "image latent"] | None = None
    scale: Float[Array, "image latent"] | None = None
    draws: Float[Array, "image draw latent"] | None = None
    k_hat: Float[Array, " image"] | None = None
    verdict: Verdict | None = None
    fitted: FittedPosterior | None = None
    grid: quadrature.GridPosterior | None = None
    log_weight: Float[Array, "image chain"] | None = None
    log_joint: Float[Array, "image chain draw"] | None = None
    decoder_calls: int = 0


class Method(NamedTuple):
    """One row of the table.

    Attributes:
        name: as a person reads it.
        run: `(key, setting, x) -> Outcome`.
        is_approximation: gives draws of a q whose coverage is measured on simulated images.
        all_images: False where only `num_posteriors` images are run.
        validate: `(key, setting, z, x) -> Validation`, bounds log p(x) from both sides on simulated
            pairs; None where the method cannot.
    """

    name: str
    run: Callable
    is_approximation: bool = False
    all_images: bool = True
    validate: Callable | None = None


AMORTIZED, SEMI_AMORTIZED = "amortized q (ELBO)", "amortized q + 10 steps"
MEAN_FIELD, FULL_RANK = "q* mean-field", "q* full-rank"
OWN_FLOW = "q* of the encoder's flow"
ANNEALED_PRIOR, ANNEALED_GUIDE = "annealed from the prior", "annealed from the guide"
SMC_PRIOR, SMC_GUIDE = "tempered SMC from the prior", "tempered SMC from the guide"
EXACT, HMC = "exact (quadrature)", "HMC"


def compared(latent_dim: int) -> tuple[Method, ...]:
    """The rows of the table; quadrature only where it is exact."""
    exact = (Method(EXACT, _quadrature),) if latent_dim <= 2 else ()
    return (
        *exact,
        Method(AMORTIZED, _amortized, is_approximation=True),
        Method(SEMI_AMORTIZED, _semi_amortized, is_approximation=True),
        Method(MEAN_FIELD, partial(_fitted, family="mean_field"), is_approximation=True),
        Method(FULL_RANK, partial(_fitted, family="full_rank"), is_approximation=True),
        *(
            Method(f"importance bound, K = {num}", partial(_importance, num_samples=num))
            for num in (1, 50, 5000)
        ),
        annealing(from_guide=False),
        annealing(from_guide=True),
        Method(HMC, _hmc, is_approximation=True, all_images=False),
    )


def annealing(*, from_guide: bool) -> Method:
    """Annealing from the guide or the prior, with both sides on simulated pairs."""
    return Method(
        ANNEALED_GUIDE if from_guide else ANNEALED_PRIOR,
        partial(_annealed, from_guide=from_guide),
        validate=partial(_both_sides, from_guide=from_guide),
    )


def own_family(guide: Guide, x: PyTree) -> Method:
    """q* in the guide's own family: a row of the table, or the flow's.

    Args:
        guide: ONE x -> q(z | x).
        x: observations, or their shapes.
    """
    family = guides_family(guide, x)
    known = {FAMILIES["mean_field"]: MEAN_FIELD, FAMILIES["full_rank"]: FULL_RANK}
    name = known.get(family, OWN_FLOW)
    return Method(name, partial(_fitted, family=family), is_approximation=True)


def smc_method(*, from_guide: bool) -> Method:
    """Sequential Monte Carlo, an estimator of its own: for whoever asks, not in the table.

    On simulated pairs its value is the lower side, that of annealing the upper.
    """
    return Method(
        SMC_GUIDE if from_guide else SMC_PRIOR,
        partial(_smc, from_guide=from_guide),
        validate=partial(_smc_below_annealing, from_guide=from_guide),
    )


def _quadrature(key, setting: Setting, x) -> Outcome:
    del key
    grid = quadrature.posteriors(setting.model, x, batch_size=8)
    variance = jnp.diagonal(grid.covariance, axis1=-2, axis2=-1)
    return Outcome(
        evidence=quadrature.evidence(grid.log_evidence, grid.error),
        mean=grid.mean,
        scale=jnp.sqrt(variance),
        grid=grid,
        decoder_calls=int(jnp.mean(grid.num_evaluations)),
    )


def _amortized(key, setting: Setting, x) -> Outcome:
    draws = gathering(importance_draws)(
        key,
        setting.model,
        x,
        guide=setting.guide,
        num_samples=setting.budget.num_elbo_samples,
        batch_size=setting.budget.batch_size,
    )
    return Outcome(
        evidence=draws.elbo(),
        mean=jnp.mean(draws.z, axis=1),
        scale=jnp.std(draws.z, axis=1),
        draws=draws.z,
        k_hat=pareto_k_hat(draws.log_weight),
        decoder_calls=setting.budget.num_elbo_samples,
    )


def _semi_amortized(key, setting: Setting, x) -> Outcome:
    return _fitted(key, setting, x, family="mean_field", num_steps=NUM_SEMI_AMORTIZED_STEPS)


def _fitted(key, setting: Setting, x, *, family, num_steps: int = 500) -> Outcome:
    key_fit, key_draws = jax.random.split(key)
    fitted = setting.engines.fit_posterior(
        key_fit,
        setting.model,
        x,
        guide=setting.guide,
        family=family,
        num_steps=num_steps,
        num_elbo_samples=setting.budget.num_elbo_samples,
        batch_size=setting.budget.batch_size,
    )
    variance = jnp.diagonal(fitted.covariance, axis1=-2, axis2=-1)
    return Outcome(
        evidence=fitted.elbo(),
        mean=fitted.loc,
        scale=jnp.sqrt(variance),
        draws=sample_fitted(key_draws, fitted, family=family, num_samples=NUM_COVERAGE_DRAWS),
        k_hat=pareto_k_hat(fitted.log_weight),
        fitted=fitted,
        decoder_calls=int(jnp.mean(fitted.num_evaluations)),
    )


def _importance(key, setting: Setting, x, *, num_samples: int) -> Outcome:
    draws = gathering(importance_draws)(
        key,
        setting.model,
        x,
        guide=setting.guide,
        num_samples=num_samples,
        batch_size=setting.budget.batch_size,
    )
    return Outcome(evidence=draws.evidence(), mean=draws.mean(), decoder_calls=num_samples)


def _annealed(key, setting: Setting, x, *, from_guide: bool) -> Outcome:
    options = _anneal_options(setting, from_guide)
    draws = setting.engines.annealed_draws(key, setting.model, x, **options)
    return Outcome(
        evidence=draws.evidence(),
        mean=draws.mean(),
        log_weight=draws.log_weight,
        decoder_calls=int(draws.num_grads[0]),
    )


def _smc(key, setting: Setting, x, *, from_guide: bool) -> Outcome:
    options = _anneal_options(setting, from_guide)
    del options["num_chains"]
    runs = gathering(smc_runs)(key, setting.model, x, **options)
    return Outcome(evidence=runs.evidence(), decoder_calls=int(runs.num_grads[0]))


def _both_sides(key, setting: Setting, z, x, *, from_guide: bool) -> Validation:
    options = _anneal_options(setting, from_guide)
    evidence = setting.engines.evidence_sandwich(key, setting.model, z, x, **options)
    return certify(evidence, z, x, confidence=CONFIDENCE)


def _smc_below_annealing(key, setting: Setting, z, x, *, from_guide: bool) -> Validation:
    key_below, key_above = jax.random.split(key)
    below = _smc(key_below, setting, x, from_guide=from_guide).evidence
    above = _both_sides(key_above, setting, z, x, from_guide=from_guide).evidence
    sides = sandwich_evidence(below.lower, above.upper, below.stderr_lower)
    return certify(sides, z, x, confidence=CONFIDENCE)


def _anneal_options(setting: Setting, from_guide: bool) -> dict:
    budget = setting.budget
    return {
        "guide": setting.guide if from_guide else None,
        "num_chains": budget.num_chains,
        "num_temperatures": (
            budget.num_temperatures_guide if from_guide else budget.num_temperatures_prior
        ),
        "batch_size": budget.batch_size,
    }


def _hmc(key, setting: Setting, x, *, kernel: str = "hmc") -> Outcome:
    budget = setting.budget
    draws = setting.engines.sample_posterior(
        key,
        setting.model,
        x,
        guide=setting.guide,
        kernel=kernel,
        num_chains=budget.num_chains,
        num_samples=budget.num_reference_draws,
        batch_size=None if kernel == "nuts" else budget.batch_size,
    )
    pooled = draws.pooled()
    return Outcome(
        mean=jnp.mean(pooled, axis=1),
        scale=jnp.std(pooled, axis=1),
        draws=pooled,
        verdict=verdict(draws),
        log_joint=draws.log_joint,
        decoder_calls=int(draws.num_grads[0]),
    )
