"""How well one trained run guesses hidden pixels, by every way that the model allows."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from bayes_jax import GenerativeModel
from bayes_jax.diagnostics import worst_rhat
from bayes_jax.errors import InputError
from bayes_jax.imputation import (
    Imputations,
    Measures,
    impute_by_mcmc,
    impute_by_pseudo_gibbs,
    impute_exactly,
    measure,
)
from vae_jax.timing import timed

Method = Literal["mcmc", "pseudo_gibbs", "metropolis", "exact", "all"]

NAMES = {
    "exact": "exact (closed form)",
    "mcmc": "MCMC on z",
    "metropolis": "Metropolis within Gibbs",
    "pseudo_gibbs": "pseudo-Gibbs",
}
BATCH = 32  # images in memory at once
NUM_WARMUP_GIBBS = 250


class Imputed(NamedTuple):
    """What one way made of the hidden pixels.

    Attributes:
        method: a key of `NAMES`.
        imputations: of every image.
        measures: on the pixels that were hidden.
        seconds: wall clock, compilation apart.
    """

    method: str
    imputations: Imputations
    measures: Measures
    seconds: float


def possible_ways(generative: GenerativeModel) -> dict[str, Callable]:
    """The ways that a model allows, the exact one first: `(key, x, missing, **) -> Imputations`.

    Args:
        generative: the model.
    """
    ways = {}
    if generative.completion is not None:
        ways["exact"] = partial(_exactly, generative)
    if generative.latent is not None:
        ways["mcmc"] = partial(_by_mcmc, generative)
    if generative.latent is not None and generative.guide is not None:
        ways["metropolis"] = partial(_by_gibbs, generative, corrected=True)
        ways["pseudo_gibbs"] = partial(_by_gibbs, generative, corrected=False)
    return ways


def chosen_ways(name: str, generative: GenerativeModel, method: Method) -> dict[str, Callable]:
    """Those of `possible_ways` that are asked for.

    Args:
        name: of the model.
        generative: the model.
        method: one of them, or all.

    Raises:
        InputError: the model does not allow it, or nothing at all.
    """
    ways = possible_ways(generative)
    if not ways:
        raise InputError(
            f"{name} cannot impute: it has neither a continuous latent nor p(x_hidden | x_seen) in "
            "closed form, and its density cannot leave pixels out; expected a run of another system"
        )
    if method != "all" and method not in ways:
        raise InputError(f"method is {method!r}: {name} allows {', '.join(ways)}")
    return ways if method == "all" else {method: ways[method]}


def run_ways(
    key: PRNGKeyArray,
    generative: GenerativeModel,
    ways: dict[str, Callable],
    x: Float[Array, "image dim"],
    missing: Bool[Array, "image dim"],
    *,
    num_imputations: int,
    num_chains: int,
    num_draws: int,
) -> Iterator[Imputed]:
    """Impute and measure, one way after another.

    Args:
        key: a PRNG key.
        generative: the model.
        ways: from `chosen_ways`.
        x: whole images; what is hidden is not read but to measure.
        missing: their masks.
        num_imputations: of each image.
        num_chains: of z per image, of every sampler.
        num_draws: of z, kept of each chain; as many for every sampler, since few make its
            log p(x_hidden | x_seen) look worse.

    Yields:
        What each way made, as soon as it is done.
    """
    options = {"num_imputations": num_imputations, "batch_size": BATCH}
    chains = {"num_chains": num_chains, "num_samples": num_draws}
    for name, way in ways.items():
        done = timed(partial(way, key, x, missing, **options, **chains))
        found = measure(generative, done.result, x, missing, batch_size=BATCH)
        yield Imputed(name, done.result, found, done.seconds)


def rows(name: str, finished: list[Imputed], *, white: float = 1.0) -> list[dict]:
    """One row per way, with errors over the images that went well, of which `num_images` there are.

    Args:
        name: of the model.
        finished: of one run.
        white: the brightest pixel, the unit of the errors.
    """
    return [_row(name, entry, white) for entry in finished]


def warnings(finished: list[Imputed]) -> list[str]:
    """A line for each way that went wrong for some images, which its row leaves out.

    Args:
        finished: of one run.
    """
    known = {NAMES[entry.method]: _bad_images(entry) for entry in finished}
    return [
        f"{name}: {len(images)} images are left out, the first of them image {images[0]}: p(x | z) "
        "is NaN or infinite somewhere"
        for name, images in known.items()
        if len(images)
    ]


def _bad_images(entry: Imputed) -> np.ndarray:
    log_prob = np.asarray(entry.measures.log_prob)
    return np.flatnonzero(np.isnan(log_prob) | ~np.asarray(entry.imputations.valid))


def _row(name, entry: Imputed, white) -> dict:
    *values, kind = entry.measures
    images = np.setdiff1d(np.arange(len(values[0])), _bad_images(entry))
    found = Measures(*(np.asarray(each)[images] for each in values), kind)
    squared, squared_stderr = _mean(found.squared_error / white**2)
    log_prob, log_prob_stderr = _mean(found.log_prob)
    coverage, coverage_stderr = _mean(found.coverage)
    z = entry.imputations.z
    return {
        "table": "imputation",
        "model": name,
        "method": NAMES[entry.method],
        "rmse": squared**0.5,
        "stderr_rmse": squared_stderr / (2 * squared**0.5) if squared else 0.0,
        "log_prob": log_prob,
        "nll": -log_prob,
        "stderr": log_prob_stderr,
        "kind": found.kind.name.lower(),
        "coverage": coverage,
        "stderr_coverage": coverage_stderr,
        "rhat": None if z is None else _largest(worst_rhat(z)[images]),
        "num_images": len(images),
        "num_imputations": entry.imputations.x.shape[1],
        "seconds": entry.seconds / len(entry.measures.log_prob),
    }


def _mean(values) -> tuple[float, float]:
    """And its standard error over images; NaN for one, and both for none."""
    values = np.asarray(values, np.float64)
    if len(values) < 2:
        return float(values.sum() if len(values) else np.nan), np.nan
    return float(np.mean(values)), float(np.std(values, ddof=1) / np.sqrt(len(values)))


def _largest(values) -> float:
    return float(np.max(values)) if len(values) else np.nan


def _exactly(generative, key, x, missing, *, num_chains, num_samples, **options) -> Imputations:
    del num_chains, num_samples  # it draws x itself
    return impute_exactly(key, generative, x, missing, **options)


def _by_mcmc(generative, key, x, missing, **options) -> Imputations:
    return impute_by_mcmc(key, generative.latent, x, missing, **options)


def _by_gibbs(generative, key, x, missing, *, corrected, **options) -> Imputations:
    return impute_by_pseudo_gibbs(
        key,
        generative.latent,
        x,
        missing,
        guide=generative.guide,
        corrected=corrected,
        num_warmup=NUM_WARMUP_GIBBS,
        **options,
    )
