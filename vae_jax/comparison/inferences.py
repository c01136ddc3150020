"""One decoder, every inference: the same p(x | z), the same images, all ways to p(z | x) and p(x).

Each method is a function `(key, setting, x) -> Outcome`; the same function runs on test images and
on images simulated from the model, where the true z is known and coverage can be measured.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

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
    simulate,
    verdict,
)
from bayes_jax.annealing import Validation
from bayes_jax.annealing.validation import certify
from bayes_jax.calibration import Coverage, interval_coverage
from bayes_jax.diagnostics import Verdict
from bayes_jax.estimates import EvidenceKind
from bayes_jax.exact import quadrature
from bayes_jax.smc import smc_runs
from bayes_jax.variational import FittedPosterior, sample_fitted
from vae_jax.configs import InferenceBudget
from vae_jax.timing import timed

NUM_SEMI_AMORTIZED_STEPS = 10
NUM_COVERAGE_DRAWS = 1000
NOMINAL_COVERAGE = 0.9
CONFIDENCE = 0.95


class Setting(NamedTuple):
    """What every inference is given.

    Attributes:
        model: p(z) p(x | z), decoder frozen.
        guide: the amortized q(z | x), or None.
        budget: how much each may spend.
    """

    model: LatentModel
    guide: Guide | None
    budget: InferenceBudget


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


class Finished(NamedTuple):
    """A method that ran.

    Attributes:
        method: which.
        outcome: what it found on the test images.
        coverage: on simulated images, or None.
        seconds: of the run on test images, compilation apart.
        compile_seconds: of compilation.
        validation: both sides of log p(x) on simulated images, or None.
    """

    method: Method
    outcome: Outcome
    coverage: Coverage | None
    seconds: float
    compile_seconds: float
    validation: Validation | None = None


AMORTIZED, SEMI_AMORTIZED = "amortized q (ELBO)", "amortized q + 10 steps"
MEAN_FIELD, FULL_RANK = "q* mean-field", "q* full-rank"
ANNEALED_PRIOR, ANNEALED_GUIDE = "annealed from the prior", "annealed from the guide"
EXACT, SMC_GUIDE, HMC = "exact (quadrature)", "tempered SMC from the guide", "HMC"


def methods(latent_dim: int) -> tuple[Method, ...]:
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
        *(
            Method(
                name,
                partial(_annealed, from_guide=from_guide),
                validate=partial(_both_sides, from_guide=from_guide),
            )
            for name, from_guide in ((ANNEALED_PRIOR, False), (ANNEALED_GUIDE, True))
        ),
        Method(HMC, _hmc, is_approximation=True, all_images=False),
    )


def smc_method() -> Method:
    """Sequential Monte Carlo, an estimator of its own: for whoever asks, not in the table."""
    return Method(SMC_GUIDE, _smc)


def run_methods(
    key: PRNGKeyArray, setting: Setting, x: Float[Array, "image dim"]
) -> Iterator[Finished]:
    """Run every method on the same images, one after another.

    Args:
        key: a PRNG key.
        setting: model, guide and budget.
        x: the first `num_images` test images.

    Yields:
        What each method found, as soon as it is done.
    """
    key_simulate, key = jax.random.split(key)
    pairs = simulated(key_simulate, setting.model, max(len(x), setting.budget.num_simulations), x)
    for index, method in enumerate(methods(setting.model.prior.event_shape[0])):
        num = len(x) if method.all_images else setting.budget.num_posteriors
        key_test, key_simulated = jax.random.split(jax.random.fold_in(key, index))
        done = timed(partial(method.run, key_test, setting, x[:num]))
        coverage = None
        if method.is_approximation:
            z, x_simulated = (rows[:num] for rows in pairs)
            draws = method.run(key_simulated, setting, x_simulated).draws
            coverage = interval_coverage(z, draws, probability=NOMINAL_COVERAGE)
        yield Finished(
            method,
            done.result,
            coverage,
            done.seconds,
            done.compile_seconds,
            validated(key_simulated, method, setting, pairs),
        )


def simulated(key: PRNGKeyArray, model: LatentModel, num: int, like: Array) -> tuple[Array, Array]:
    """Pairs z, x from the model, with x in the dtype of other images."""
    z, x = simulate(key, model, num)
    return z, x.astype(like.dtype)


def validated(
    key: PRNGKeyArray, method: Method, setting: Setting, pairs: tuple[Array, Array] | None
) -> Validation | None:
    """Both sides of log p(x) on simulated pairs, if the method and the budget allow it.

    Args:
        key: a PRNG key.
        method: which.
        setting: model, guide and budget.
        pairs: z and x, at least `budget.num_simulations` of them; None for a method without.
    """
    num = setting.budget.num_simulations
    if method.validate is None or num == 0:
        return None
    return method.validate(key, setting, *(rows[:num] for rows in pairs))


def rows(model_name: str, finished: list[Finished]) -> list[dict]:
    """The finished methods as rows of the table "inference".

    `log_prob` and `stderr` (Monte Carlo) are means over the images in nats; `gap` is the distance
    to the best value (exact where it exists, else the highest bound); `mean_error` is the root mean
    square distance of posterior means to the reference in units of its standard deviation.
    """
    best = _best_log_prob(finished)
    reference = _reference(finished)
    return [_row(model_name, entry, best, reference) for entry in finished]


def find(finished: list[Finished], name: str) -> Finished | None:
    """The finished method of that name, if it ran."""
    return next((entry for entry in finished if entry.method.name == name), None)


def _row(model_name, entry: Finished, best, reference) -> dict:
    outcome = entry.outcome
    log_prob, stderr, kind = _summary(outcome.evidence)
    num_images = _num_images(outcome)
    return {
        "table": "inference",
        "model": model_name,
        "method": entry.method.name,
        "log_prob": log_prob,
        "stderr": stderr,
        "kind": kind,
        "gap": None if log_prob is None else best - log_prob,
        "mean_error": _mean_error(entry, reference),
        "coverage": None if entry.coverage is None else float(entry.coverage.share),
        "coverage_stderr": None if entry.coverage is None else float(entry.coverage.stderr),
        "k_hat": None if outcome.k_hat is None else float(jnp.median(outcome.k_hat)),
        **_convergence(outcome.verdict),
        "decoder_calls": outcome.decoder_calls,
        "num_images": num_images,
        "seconds": entry.seconds / num_images,
        "compile_seconds": entry.compile_seconds,
    }


def _convergence(found: Verdict | None) -> dict:
    if found is None:
        return dict.fromkeys(("verdict", "num_converged", "rhat", "ess"))
    return {
        "verdict": found.summary(),
        "num_converged": int(jnp.sum(found.converged)),
        "rhat": float(jnp.max(found.diagnostics.rhat)),
        "ess": float(jnp.min(found.diagnostics.ess_bulk)),
    }


def _summary(evidence: Evidence | None):
    if evidence is None:
        return None, None, None
    lower = np.asarray(evidence.lower, np.float64)
    stderr = np.asarray(evidence.stderr_lower, np.float64)
    if evidence.kind != EvidenceKind.EXACT and not np.all(np.isfinite(stderr)):
        # One weight per image: the spread over images is all there is to tell the error.
        return float(lower.mean()), None, evidence.kind.name.lower()
    error = float(np.sqrt(np.sum(stderr**2)) / len(stderr))
    return float(lower.mean()), error, evidence.kind.name.lower()


def _best_log_prob(finished: list[Finished]) -> float:
    exact = find_exact(finished)
    if exact:
        return _summary(exact.outcome.evidence)[0]
    known = (entry.outcome.evidence for entry in finished)
    # An estimate may lie above the truth: only bounds can be the highest bound.
    return max(_summary(e)[0] for e in known if e is not None and e.kind == EvidenceKind.LOWER)


def _reference(finished: list[Finished]) -> Finished | None:
    """Whose posterior moments the others are held against: exact, else the long MCMC run."""
    chains = (entry for entry in finished if entry.outcome.verdict is not None)
    return find_exact(finished) or next(chains, None)


def find_exact(finished: list[Finished]) -> Finished | None:
    """The method whose evidence is exact, if one is."""
    known = (entry for entry in finished if entry.outcome.evidence is not None)
    return next((e for e in known if e.outcome.evidence.kind == EvidenceKind.EXACT), None)


def _mean_error(entry: Finished, reference: Finished | None) -> float | None:
    if reference is None or entry is reference or entry.outcome.mean is None:
        return None
    num = min(len(entry.outcome.mean), len(reference.outcome.mean))
    error = entry.outcome.mean[:num] - reference.outcome.mean[:num]
    squares = jnp.mean((error / reference.outcome.scale[:num]) ** 2, axis=-1)
    chains = reference.outcome.verdict
    valid = None if chains is None else chains.diagnostics.valid[:num]
    return float(jnp.sqrt(jnp.mean(squares, where=valid)))


def _num_images(outcome: Outcome) -> int:
    return len(outcome.evidence.lower if outcome.evidence is not None else outcome.mean)


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
    draws = importance_draws(
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
    fitted = fit_posterior(
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
    draws = importance_draws(
        key,
        setting.model,
        x,
        guide=setting.guide,
        num_samples=num_samples,
        batch_size=setting.budget.batch_size,
    )
    return Outcome(evidence=draws.evidence(), mean=draws.mean(), decoder_calls=num_samples)


def _annealed(key, setting: Setting, x, *, from_guide: bool) -> Outcome:
    draws = annealed_draws(key, setting.model, x, **_anneal_options(setting, from_guide))
    return Outcome(
        evidence=draws.evidence(),
        mean=draws.mean(),
        decoder_calls=int(draws.num_grads[0]),
    )


def _smc(key, setting: Setting, x) -> Outcome:
    runs = smc_runs(
        key,
        setting.model,
        x,
        guide=setting.guide,
        num_temperatures=setting.budget.num_temperatures_guide,
        batch_size=setting.budget.batch_size,
    )
    return Outcome(evidence=runs.evidence(), decoder_calls=int(runs.num_grads[0]))


def _both_sides(key, setting: Setting, z, x, *, from_guide: bool) -> Validation:
    options = _anneal_options(setting, from_guide)
    evidence = evidence_sandwich(key, setting.model, z, x, **options)
    return certify(evidence, z, x, confidence=CONFIDENCE)


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
    draws = sample_posterior(
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
        decoder_calls=int(draws.num_grads[0]),
    )
