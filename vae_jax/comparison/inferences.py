"""One decoder, every inference: the same p(x | z), the same images, and what each method found."""

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from bayes_jax import Evidence, LatentModel, simulate
from bayes_jax.annealing import Validation
from bayes_jax.calibration import Coverage, interval_coverage
from bayes_jax.diagnostics import Verdict
from bayes_jax.estimates import EvidenceKind
from vae_jax.comparison.methods import Method, Outcome, Setting, compared
from vae_jax.scores import warning
from vae_jax.timing import timed

NOMINAL_COVERAGE = 0.9


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
    for index, method in enumerate(compared(setting.model.prior.event_shape[0])):
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


def warnings(finished: list[Finished]) -> list[str]:
    """A line for each method that has no number for some images: their mean has none either."""
    lines = [
        warning(entry.method.name, entry.outcome.evidence)
        for entry in finished
        if entry.outcome.evidence is not None
    ]
    return [line for line in lines if line]


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
    # Chains that did not converge are no reference.
    known = None if chains is None else chains.converged[:num]
    if known is not None and not bool(jnp.any(known)):
        return None
    return float(jnp.sqrt(jnp.mean(squares, where=known)))


def _num_images(outcome: Outcome) -> int:
    return len(outcome.evidence.lower if outcome.evidence is not None else outcome.mean)
