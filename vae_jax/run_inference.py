"""How well one trained run infers: evidence, gaps and posterior of its test images.

The methods are those of the comparison, so a number here and there is the same number; a model gets
those that its abilities allow.
"""

from collections.abc import Iterator
from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from bayes_jax import GenerativeModel
from bayes_jax.estimates import Gaps
from bayes_jax.gaps import decompose
from vae_jax.comparison import inferences
from vae_jax.comparison.inferences import Finished, Method, Outcome, Setting
from vae_jax.configs import InferenceBudget
from vae_jax.timing import timed

Sampler = Literal["hmc", "nuts"]

CLOSED_FORM = "exact (closed form)"
_OF_A_GUIDE = (
    inferences.EXACT,
    inferences.AMORTIZED,
    inferences.MEAN_FIELD,
    "importance bound, K = 50",
    "importance bound, K = 5000",
    inferences.ANNEALED_GUIDE,
)


def methods(generative: GenerativeModel, *, sampler: Sampler = "hmc") -> tuple[Method, ...]:
    """The inferences that a model allows, the posterior draws last.

    Args:
        generative: the model; one without a continuous latent has its exact evidence only.
        sampler: of the posterior draws.

    Returns:
        Methods of the comparison, and the closed form where the model has one.
    """
    closed_form = ()
    if generative.posterior is not None:
        closed_form = (Method(CLOSED_FORM, partial(_closed_form, generative)),)
    if generative.latent is None:
        return closed_form
    known = {
        method.name: method for method in inferences.methods(generative.latent.prior.event_shape[0])
    }
    names = () if generative.guide is None else _OF_A_GUIDE
    bounds = (known[name] for name in names if name in known)
    if closed_form:
        bounds = (method for method in bounds if method.name != inferences.EXACT)
    chains = known[inferences.HMC]
    if sampler == "nuts":
        chains = chains._replace(name="NUTS", run=partial(chains.run, kernel="nuts"))
    return (*closed_form, *bounds, chains)


def run_methods(
    key: PRNGKeyArray,
    generative: GenerativeModel,
    x: Float[Array, "image dim"],
    budget: InferenceBudget,
    *,
    sampler: Sampler = "hmc",
) -> Iterator[Finished]:
    """Run what `methods` lists, one after another.

    Args:
        key: a PRNG key.
        generative: the model.
        x: test images; the first `budget.num_posteriors` are sampled by MCMC.
        budget: how much each may spend.
        sampler: of the posterior draws.

    Yields:
        What each method found, as soon as it is done.
    """
    setting = Setting(generative.latent, generative.guide, budget)
    for index, method in enumerate(methods(generative, sampler=sampler)):
        rows = x if method.all_images else x[: budget.num_posteriors]
        done = timed(partial(method.run, jax.random.fold_in(key, index), setting, rows))
        yield Finished(method, done.result, None, done.seconds, done.compile_seconds)


def decomposition(finished: list[Finished]) -> Gaps | None:
    """The gaps of each image between evidence (exact, else annealed), q* and the guide.

    Args:
        finished: of one run.

    Returns:
        Gaps; None for a model without a guide.
    """
    amortized = inferences.find(finished, inferences.AMORTIZED)
    if amortized is None:
        return None
    names = (CLOSED_FORM, inferences.EXACT, inferences.ANNEALED_GUIDE)
    best = next(entry for name in names if (entry := inferences.find(finished, name)))
    fitted = inferences.find(finished, inferences.MEAN_FIELD).outcome.fitted
    return decompose(best.outcome.evidence, amortized.outcome.evidence, fitted)


def evidence_rows(name: str, finished: list[Finished]) -> list[dict]:
    """One row per method that says something about log p(x), as in the comparison.

    `stderr` is the Monte Carlo error of the mean over these images, `stderr_images` the error from
    having seen only these.

    Args:
        name: of the model.
        finished: of one run.
    """
    return [
        {**row, "table": "evidence", "stderr_images": _stderr(entry.outcome.evidence.lower)}
        for row, entry in zip(inferences.rows(name, finished), finished, strict=True)
        if entry.outcome.evidence is not None
    ]


def gap_rows(name: str, gaps: Gaps) -> list[dict]:
    """Mean gaps in nats, with Monte Carlo error and error over images.

    Args:
        name: of the model.
        gaps: of each image.
    """
    parts = {
        "approximation gap": (gaps.approximation, gaps.stderr_approximation),
        "amortization gap": (gaps.amortization, gaps.stderr_amortization),
        "log p(x) - ELBO": (gaps.approximation + gaps.amortization, gaps.stderr_total),
    }
    return [
        {
            "table": "gaps",
            "model": name,
            "method": part,
            "log_prob": None,
            "gap": float(np.mean(np.asarray(gap, np.float64))),
            "stderr": float(np.sqrt(np.sum(np.asarray(stderr, np.float64) ** 2)) / len(stderr)),
            "stderr_images": _stderr(gap),
            "largest": float(np.max(gap)),
            "kind": None,
            "num_images": len(gap),
            "seconds": None,
        }
        for part, (gap, stderr) in parts.items()
    ]


def posterior_rows(name: str, finished: list[Finished]) -> list[dict]:
    """Did the chains of each image converge?

    Args:
        name: of the model.
        finished: of one run.
    """
    return [
        {
            **row,
            "table": "posterior",
            "ess_tail": float(jnp.min(found.diagnostics.ess_tail)),
            "ebfmi": float(jnp.min(found.diagnostics.ebfmi)),
            "diverging": int(jnp.sum(found.diagnostics.diverging)),
        }
        for row, entry in zip(inferences.rows(name, finished), finished, strict=True)
        if (found := entry.outcome.verdict) is not None
    ]


def _closed_form(generative: GenerativeModel, key, setting: Setting, x) -> Outcome:
    evidence = generative.log_evidence(key, x)
    if generative.latent is None:
        return Outcome(evidence=evidence)
    mean, scale = _moments(generative.posterior, x)
    return Outcome(evidence=evidence, mean=mean, scale=scale)


@jax.jit
def _moments(posterior, x):
    def moments(x):
        found = posterior(x)
        return found.mean, jnp.sqrt(found.variance)

    return jax.vmap(moments)(x)


def _stderr(values) -> float:
    return float(np.std(np.asarray(values, np.float64), ddof=1) / np.sqrt(len(values)))
