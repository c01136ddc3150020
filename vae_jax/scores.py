"""What is said of held-out examples, for each kind of data: columns, and measures beside log p."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import PRNGKeyArray

from bayes_jax import Evidence, GenerativeModel
from bayes_jax.estimates import EvidenceKind
from bayes_jax.sequences import lengths, perplexity
from vae_jax.data.arrays import bits_per_dim
from vae_jax.data.dataset import Dataset
from vae_jax.data.kinds import Corpus, Images, Record
from vae_jax.data.text import TextDataset
from vae_jax.latent_information import information_table
from vae_jax.tables import Column, Table


class Scores(NamedTuple):
    """How the scores of one kind of data are made and told.

    Attributes:
        columns: of the table, between the method and the kind of the evidence.
        note: on what is not in the columns.
        num_at_once: examples whose importance draws are in memory together.
        measures: `(evidence, data set, split) -> dict`, what the columns show beside log p.
        of_latents: `(key, model, data set) -> tables`, of a model with a guide.
        told: `record -> str`, what the data are made of.
    """

    columns: list[Column]
    note: str
    num_at_once: int
    measures: Callable
    of_latents: Callable
    told: Callable


def scores_of(seen: Record) -> Scores:
    """How examples are scored that are like those of a record."""
    return _SCORES[type(seen)]


def mean_log_prob(evidence: Evidence) -> np.float64:
    """Of a split, in nats, from below."""
    return np.mean(np.asarray(evidence.lower, np.float64))


def warning(name: str, evidence: Evidence, *, noun: str = "images") -> str | None:
    """One line where log p(x) of some examples is no number; None where all are.

    Args:
        name: of what found it.
        evidence: of the examples.
        noun: what they are, many of them.
    """
    bad = np.flatnonzero(~(np.isfinite(evidence.lower) & np.asarray(evidence.valid)))
    if not len(bad):
        return None
    return (
        f"{name}: log p(x) of {len(bad)} {noun} is NaN or infinite, the first of them "
        f"{noun.removesuffix('s')} {bad[0]}: their mean is no number"
    )


def _image_measures(evidence: Evidence, dataset: Dataset, split: str) -> dict:
    del split
    spec = dataset.spec
    bits = bits_per_dim(
        mean_log_prob(evidence), dim=spec.dim, observation=spec.head, num_levels=spec.num_levels
    )
    return {"bits_per_dim": float(bits)}


def _text_measures(evidence: Evidence, dataset: TextDataset, split: str) -> dict:
    num_tokens = lengths(getattr(dataset, split))[: len(evidence.lower)]
    value, stderr = perplexity(evidence.lower, num_tokens)
    return {
        "perplexity": value,
        "perplexity_stderr": stderr,
        "perplexity_kind": _PERPLEXITY_KINDS[evidence.kind],
        "unknown_share": dataset.unknown_shares[split],
    }


def _no_tables(key: PRNGKeyArray, model: GenerativeModel, dataset: Dataset) -> list[Table]:
    del key, model, dataset
    return []


def _information_tables(
    key: PRNGKeyArray, model: GenerativeModel, dataset: TextDataset
) -> list[Table]:
    return [information_table(key, model, dataset)]


_PERPLEXITY_KINDS = {
    EvidenceKind.EXACT: "exact",
    EvidenceKind.LOWER: "upper bound",
    EvidenceKind.SANDWICH: "upper bound",  # of its lower side
    EvidenceKind.ESTIMATE: "estimate",
}

_IMAGES = Scores(
    columns=[
        Column("log_prob", "log p(x), nats per image", ".3f", "stderr"),
        Column("bits_per_dim", "bits / pixel", ".4f", meaning="of the grey level, bit or count"),
    ],
    note="infer.py gives tighter bounds.",
    num_at_once=500,
    measures=_image_measures,
    of_latents=_no_tables,
    told=lambda images: f"{images.spec.head} pixels",
)

_TEXT = Scores(
    columns=[
        Column("log_prob", "log p(x), nats per sentence", ".3f", "stderr"),
        Column("perplexity", "perplexity / token", ".2f", "perplexity_stderr"),
        Column("perplexity_kind", "which is"),
        Column("unknown_share", "<unk>", ".1%", meaning="share of all tokens"),
    ],
    note="perplexity: exp(-sum of log p / number of tokens), end tokens counted; that of a lower "
    "bound of log p is an upper bound. Words that are <unk> cost little: compare perplexities of "
    "one vocabulary alone.",
    num_at_once=16,
    measures=_text_measures,
    of_latents=_information_tables,
    told=lambda corpus: f"{len(corpus.vocabulary)} tokens, {corpus.vocabulary.unit}s",
)

_SCORES = {Images: _IMAGES, Corpus: _TEXT}
