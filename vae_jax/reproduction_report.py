"""What a reproduction gave beside what was published."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from bayes_jax import Evidence, GenerativeModel, importance_bound
from bayes_jax.errors import InputError
from vae_jax.data.dataset import Dataset
from vae_jax.objectives import active_units
from vae_jax.provenance import versions
from vae_jax.records import write_json
from vae_jax.reproductions import REPRODUCTIONS, Reproduction
from vae_jax.runs import read_metrics
from vae_jax.scores import warning
from vae_jax.tables import Column, Table
from vae_jax.trained import TrainedRun

_DRAWS_AT_ONCE = 100_000  # of z, which bounds the memory
_ROW_FILE = "reproduction.json"

_COLUMNS = [
    Column("model", "model"),
    Column("nll", "-log p(x), nats", ".2f", "stderr", "mean over the test images, ± over them"),
    Column("published", "published", ".2f"),
    Column(
        "num_samples",
        "K",
        "d",
        meaning="importance samples; 1 is the negative ELBO, 0 is exact",
    ),
    Column("active_units", "active units", "d"),
    Column("seconds", "train s", ".0f"),
    Column("device", "device"),
    Column("remark", "not as published"),
    Column("source", "source"),
]


def row(
    key: PRNGKeyArray,
    asked: Reproduction,
    run: TrainedRun,
    dataset: Dataset,
    *,
    warn: Callable[[str], None],
) -> dict:
    """Score one run as its publication did.

    Args:
        key: of the importance samples.
        asked: what was published.
        run: trained so.
        dataset: its test images are scored.
        warn: called with one line if images have no number.

    Returns:
        The numbers of one row; `nll` is the negative bound in nats per image.
    """
    start = time.perf_counter()
    x = jnp.asarray(dataset.test, jnp.float32)
    evidence = _evidence(key, asked, run.generative, x)
    if line := warning(asked.title, evidence):
        warn(line)
    nll = -np.asarray(evidence.lower, np.float64)
    guide = run.generative.guide
    return {
        "table": "reproductions",
        "model": asked.title,
        "nll": nll.mean(),
        "stderr": nll.std(ddof=1) / np.sqrt(len(nll)),
        "published": asked.published,
        "num_samples": asked.num_samples,
        "num_images": len(nll),
        "active_units": None if guide is None else int(jax.jit(active_units)(guide, x)),
        "num_epochs": int(run.progress.epoch),
        "best_epoch": int(run.progress.best_epoch),
        "seconds": sum(epoch["seconds"] for epoch in read_metrics(run.folder)),
        "score_seconds": time.perf_counter() - start,
        "device": versions()["device"],
        "remark": asked.remark,
        "source": asked.source,
    }


def _evidence(key, asked: Reproduction, generative: GenerativeModel, x) -> Evidence:
    if not asked.num_samples:
        return generative.log_evidence(key, x)
    return importance_bound(
        key,
        generative.latent,
        x,
        guide=generative.guide,
        num_samples=asked.num_samples,
        batch_size=max(1, _DRAWS_AT_ONCE // asked.num_samples),
    )


def keep(folder: Path, row: dict) -> None:
    """Write a row beside its run; if its `nll` is a number, no later call scores it again."""
    write_json(folder / _ROW_FILE, row)


def is_finished(folder: Path) -> bool:
    """Whether a run was trained, and its score is a number.

    Raises:
        InputError: a row that was cut off.
    """
    path = folder / _ROW_FILE
    return path.is_file() and _read(path).get("nll") is not None


def rows(folder: Path) -> list[dict]:
    """The rows of all runs in a folder, in the order of the publications.

    Raises:
        InputError: a row that was cut off.
    """
    paths = [folder / name / _ROW_FILE for name in REPRODUCTIONS]
    return [_read(path) for path in paths if path.is_file()]


def _read(path: Path) -> dict:
    try:
        return json.loads(path.read_text())
    except ValueError:
        raise InputError(f"{path} is damaged: delete it, and the run is scored again") from None


def table(rows: list[dict]) -> Table:
    """All rows as a person reads them."""
    return Table("Published on static binarized MNIST, and obtained here", rows, _COLUMNS)
