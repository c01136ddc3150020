"""How well one trained run infers: evidence, gaps and posterior of its test images.

The methods are those of the comparison, so a number here and there is the same number; a model gets
those that its abilities allow.
"""

from collections.abc import Iterator
from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from bayes_jax import GenerativeModel
from bayes_jax.annealing import Validation
from bayes_jax.estimates import Gaps, mean_stderr
from bayes_jax.gaps import generalization_gap, mean_gaps
from vae_jax.comparison import inferences, methods
from vae_jax.comparison.gap_table import FAMILIES
from vae_jax.comparison.inferences import Finished
from vae_jax.comparison.methods import Method, Outcome, Setting
from vae_jax.configs import InferenceBudget
from vae_jax.resumption import Store, engines_in
from vae_jax.timing import timed

Sampler = Literal["hmc", "nuts"]
Estimator = Literal["ais", "smc"]

CLOSED_FORM = "exact (closed form)"
_IMPORTANCE = ("importance bound, K = 50", "importance bound, K = 5000")
_FOR_GAPS = (
    CLOSED_FORM,
    methods.EXACT,
    methods.AMORTIZED,
    *FAMILIES,
    *_IMPORTANCE,
    methods.ANNEALED_GUIDE,
    methods.SMC_GUIDE,
)
_ESTIMATORS = {"ais": methods.ANNEALED_GUIDE, "smc": methods.SMC_GUIDE}
_FROM_PRIOR = {"ais": methods.ANNEALED_PRIOR, "smc": methods.SMC_PRIOR}


def possible_methods(
    generative: GenerativeModel, *, sampler: Sampler = "hmc", evidence: Estimator = "ais"
) -> tuple[Method, ...]:
    """The inferences that a model allows, the posterior draws last.

    Args:
        generative: the model; one without a continuous latent has its exact evidence only.
        sampler: of the posterior draws.
        evidence: what bounds log p(x) where nothing is exact, and what the gaps of a guide are held
            against.

    Returns:
        Methods of the comparison, and the closed form where the model has one.
    """
    closed_form = ()
    if generative.posterior is not None or generative.density is not None:
        closed_form = (Method(CLOSED_FORM, partial(_closed_form, generative)),)
    if generative.latent is None:
        return closed_form
    known = {
        method.name: method for method in methods.compared(generative.latent.prior.event_shape[0])
    }
    for from_guide in (False, True):
        smc = methods.smc_method(from_guide=from_guide)
        known[smc.name] = smc
    names = (_FROM_PRIOR[evidence],)
    if generative.guide is not None:
        fitted = methods.own_family(generative.guide, _one_row(generative))
        known[fitted.name] = fitted
        names = (methods.EXACT, methods.AMORTIZED, fitted.name, *_IMPORTANCE)
        names += (_ESTIMATORS[evidence],)
    bounds = (known[name] for name in names if name in known)
    if closed_form:
        spared = (methods.EXACT, *_FROM_PRIOR.values())
        bounds = (method for method in bounds if method.name not in spared)
    chains = known[methods.HMC]
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
    evidence: Estimator = "ais",
    for_gaps: bool = False,
    store: Store | None = None,
) -> Iterator[Finished]:
    """Run what `possible_methods` lists, one after another.

    With a store, methods that an earlier call finished are not run again, and the one it was in
    goes on where MCMC, annealing or q* were saved.

    Args:
        key: a PRNG key.
        generative: the model.
        x: test images; the first `budget.num_posteriors` are sampled by MCMC.
        budget: how much each may spend.
        sampler: of the posterior draws.
        evidence: what bounds log p(x), as in `possible_methods`.
        for_gaps: only the methods that `gap_table.decomposition` takes, and may hold
            the encoder against.
        store: where results and what is half done are kept; nothing is, if None.

    Yields:
        What each method found, as soon as it is done.

    Raises:
        Interrupted: a signal came while a store listens; what there is is saved.
    """
    setting = Setting(generative.latent, generative.guide, budget)
    key, key_simulate = jax.random.split(key)
    pairs = None
    if generative.latent is not None and budget.num_simulations:
        pairs = inferences.simulated(key_simulate, generative.latent, budget.num_simulations, x)
    for index, method in enumerate(
        possible_methods(generative, sampler=sampler, evidence=evidence)
    ):
        if for_gaps and method.name not in _FOR_GAPS:
            continue
        rows = x if method.all_images else x[: budget.num_posteriors]
        key_method = jax.random.fold_in(key, index)
        measure = partial(_measured, key_method, method, setting, rows, pairs)
        found = store.once(f"{index}-{method.name}", measure) if store else measure()
        yield Finished(
            method, found.outcome, None, found.seconds, found.compile_seconds, found.validation
        )


class _Measured(NamedTuple):
    """What of a `Finished` method is kept on the disk."""

    outcome: Outcome
    seconds: float
    compile_seconds: float
    validation: Validation | None


def _measured(key, method: Method, setting: Setting, rows, pairs, store=None) -> _Measured:
    key_run, key_validate = jax.random.split(key)
    running, validating, seconds = setting, setting, 0.0
    if store is not None:
        running = setting._replace(engines=engines_in(store.at("run")))
        validating = setting._replace(engines=engines_in(store.at("validation")))
        seconds = store.at("run").seconds_spent()
    done = timed(partial(method.run, key_run, running, rows))
    validation = inferences.validated(key_validate, method, validating, pairs)
    outcome = done.result if store is None else _without_params(done.result)
    return _Measured(outcome, seconds + done.seconds, done.compile_seconds, validation)


def _without_params(outcome: Outcome) -> Outcome:
    """Those of q* can be a flow's maps, which no report looks at."""
    fitted = outcome.fitted
    return outcome if fitted is None else outcome._replace(fitted=fitted._replace(params=None))


def evidence_rows(name: str, finished: list[Finished]) -> list[dict]:
    """One row per method that says something about log p(x), as in the comparison.

    `stderr` is the Monte Carlo error of the mean over these images, `stderr_images` the error from
    having seen only these.

    Args:
        name: of the model.
        finished: of one run.
    """
    return [
        {
            **row,
            "table": "evidence",
            "stderr_images": float(mean_stderr(entry.outcome.evidence.lower)),
        }
        for row, entry in zip(inferences.rows(name, finished), finished, strict=True)
        if entry.outcome.evidence is not None
    ]


def generalization_rows(name: str, train: Gaps, test: Gaps) -> list[dict]:
    """What training images fare better by, in each part, with errors over images.

    Args:
        name: of the model.
        train: of images it was trained on.
        test: of others.
    """
    sides = zip(mean_gaps(train), mean_gaps(test), generalization_gap(train, test), strict=True)
    return [
        {
            "table": "generalization",
            "model": name,
            "method": part,
            "train": float(on_train.value),
            "stderr_train": float(on_train.stderr),
            "test": float(on_test.value),
            "stderr_test": float(on_test.stderr),
            "gap": float(difference.value),
            "stderr": float(difference.stderr),
            "num_images": len(test.elbo),
        }
        for part, (on_train, on_test, difference) in zip(
            ("log p(x)", "ELBO", "approximation gap", "amortization gap"), sides, strict=True
        )
    ]


def image_rows(name: str, gaps: Gaps) -> list[dict]:
    """The decomposition image by image, in nats.

    Args:
        name: of the model.
        gaps: of each image.
    """
    fields = (
        "elbo",
        "stderr_elbo",
        "elbo_optimal",
        "stderr_elbo_optimal",
        "approximation",
        "stderr_approximation",
        "amortization",
        "stderr_amortization",
    )
    parts = {field: np.asarray(getattr(gaps, field), np.float64) for field in fields}
    return [
        {
            "table": "images",
            "model": name,
            "method": f"image {image}",
            "log_prob": float(log_prob),
            "stderr": float(stderr),
            "kind": None,
            "num_images": 1,
            "seconds": None,
            **{field: float(values[image]) for field, values in parts.items()},
        }
        for image, (log_prob, stderr) in enumerate(
            zip(gaps.log_evidence, gaps.stderr_log_evidence, strict=True)
        )
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


def _one_row(generative: GenerativeModel):
    """The shape of a batch of one observation."""
    shape = jax.eval_shape(
        lambda: generative.latent.likelihood(generative.latent.prior.sample(jax.random.key(0)))
    ).event_shape
    return jax.ShapeDtypeStruct((1, *shape), jnp.float32)


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
