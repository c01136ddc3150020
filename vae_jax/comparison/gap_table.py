"""Where an encoder loses nats, as a table: the two gaps, and what limits the model."""

import jax.numpy as jnp
import numpy as np

from bayes_jax.estimates import Evidence, EvidenceKind, Gaps, mean_stderr
from bayes_jax.gaps import advice, decompose
from vae_jax.comparison import columns, inferences, methods
from vae_jax.comparison.inferences import Finished
from vae_jax.scores import mean_log_prob
from vae_jax.tables import Column, Table

COLUMNS = [
    Column("method", "gap"),
    Column("gap", "nats per image", ".3f", "stderr", "± Monte Carlo standard error"),
    columns.STDERR_IMAGES,
    Column("largest", "largest", ".3f", meaning="of one image"),
    Column(
        "evidence_width",
        "may be larger by",
        ".3f",
        meaning="what a lower bound on log p(x) leaves open in the mean: upper end of a 95% "
        "interval for the width of the sandwich on simulated images; 0 where log p(x) is exact, "
        "nothing where the highest bound was not measured",
    ),
    columns.NUM_IMAGES,
]
FAMILIES = (methods.MEAN_FIELD, methods.FULL_RANK, methods.OWN_FLOW)
"""The inferences that fit q*, the smallest family first."""
_NOTE = (
    "approximation gap: log p(x) minus the best ELBO that the encoder's family can reach for each "
    "image, a flow's weights refitted too. amortization gap: that best ELBO minus the encoder's. A "
    "gap may come out below zero by its error."
)


def decomposition(finished: list[Finished], *, evidence_of: str | None = None) -> Gaps | None:
    """The gaps of each image between the best evidence, q* of the encoder's family and the encoder.

    Args:
        finished: the inferences of one decoder; of several q*, that of the smallest family.
        evidence_of: the method whose evidence it is held against; `best_evidence`, if None.

    Returns:
        Gaps; None for a model without a guide.
    """
    amortized = inferences.find(finished, methods.AMORTIZED)
    if amortized is None:
        return None
    known = evidence_of and inferences.find(finished, evidence_of)
    best = known or best_evidence(finished)
    fitted = next(entry for name in FAMILIES if (entry := inferences.find(finished, name)))
    return decompose(
        best.outcome.evidence,
        amortized.outcome.evidence,
        fitted.outcome.fitted,
        validation=best.validation,
    )


def best_evidence(finished: list[Finished]) -> Finished:
    """Who knows log p(x) best: the exact value, else a lower bound that none is clearly above.

    Of bounds that are level it is the one whose looseness was measured, and is the least. The
    highest in the mean takes its place where it lies above by two standard errors of their
    difference: the larger of two numbers that differ by noise would be no bound.

    Args:
        finished: the inferences of one decoder, with one bound at least.

    Returns:
        One of them.
    """
    exact = inferences.find_exact(finished)
    if exact is not None:
        return exact
    bounds = [entry for entry in finished if _is_bound(entry.outcome.evidence)]
    measured = [entry for entry in bounds if entry.validation is not None]
    best = min(measured, key=_width) if measured else max(bounds, key=_mean)
    others = [entry for entry in bounds if _is_above(entry, best)]
    return max(others, key=_mean, default=best)


def rows(model_name: str, gaps: Gaps) -> list[dict]:
    """Mean gaps in nats, with their errors and what the evidence leaves open.

    Args:
        model_name: of the decoder.
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
            "model": model_name,
            "method": part,
            "log_prob": None,
            "gap": float(np.mean(np.asarray(gap, np.float64))),
            "stderr": mean_error(stderr),
            "stderr_images": float(mean_stderr(gap)),
            "largest": float(np.max(gap)),
            # The evidence is no part of the amortization gap.
            "evidence_width": 0.0 if part == "amortization gap" else float(gaps.evidence_width),
            "kind": None,
            "num_images": len(gap),
            "seconds": None,
        }
        for part, (gap, stderr) in parts.items()
    ]


def table(model_name: str, gaps: Gaps, *, train: Gaps | None = None, title: str = "Gaps") -> Table:
    """The same as a person reads it, with what limits the model.

    Args:
        model_name: of the decoder.
        gaps: of each image.
        train: of training images, which show whether the decoder overfits.
        title: of the table.
    """
    found = advice(gaps, train=train)
    value, stderr = (float(number) for number in found.cost)
    error = f" ± {stderr:.3f}" if np.isfinite(stderr) else ""
    cost = f" ({value:.3f}{error} nats per image)" if np.isfinite(value) else ""
    note = f"{_NOTE} What limits this model: {found.limit.value}{cost}."
    return Table(title, rows(model_name, gaps), COLUMNS, note)


def mean_error(stderr) -> float:
    """Monte Carlo error of a mean over images, from that of each."""
    return float(np.sqrt(np.sum(np.asarray(stderr, np.float64) ** 2)) / len(stderr))


def _is_bound(evidence: Evidence | None) -> bool:
    return evidence is not None and evidence.kind in (EvidenceKind.LOWER, EvidenceKind.SANDWICH)


def _mean(entry: Finished) -> float:
    mean = float(mean_log_prob(entry.outcome.evidence))
    return -np.inf if np.isnan(mean) else mean


def _width(entry: Finished) -> float:
    width = float(entry.validation.width_interval[1])
    return width if np.isfinite(width + _mean(entry)) else np.inf


def _is_above(entry: Finished, best: Finished) -> bool:
    difference = jnp.asarray(entry.outcome.evidence.lower - best.outcome.evidence.lower)
    return float(jnp.mean(difference)) > 2 * float(mean_stderr(difference))
