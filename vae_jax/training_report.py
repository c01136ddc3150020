"""What a person sees of one training run: its scores on held-out images, and its curve."""

import time
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from bayes_jax import Evidence, GenerativeModel, importance_draws
from vae_jax import latent_units, plots, report, runs
from vae_jax.data.arrays import bits_per_dim
from vae_jax.data.dataset import Dataset
from vae_jax.report import Picture
from vae_jax.tables import Column, Table
from vae_jax.trained import TrainedRun

NUM_IMPORTANCE_SAMPLES = 50
_BATCH_SIZE = 500  # images in memory at once
NUM_ANNEALED = 64
"""Images scored by annealing from the prior, of models that have neither guide nor density."""

_COLUMNS = [
    Column("split", "images of"),
    Column("method", "scored by"),
    Column("log_prob", "log p(x), nats per image", ".3f", "stderr"),
    Column("bits_per_dim", "bits / pixel", ".4f", meaning="of the grey level, bit or count"),
    Column("kind", "kind"),
    Column("num_images", "images"),
]
_SPREAD = Column("spread", "sd over seeds", ".3f")
_NOTE = (
    "log p(x): mean over all images of the split, ± standard error over images. kind: 'exact' is "
    "the value, 'lower' a bound below it in expectation (infer.py gives tighter ones)."
)


class Written(NamedTuple):
    """What a person is shown of a run.

    Attributes:
        scores: of the held-out images.
        warnings: one line each.
    """

    scores: Table
    warnings: list[str]


def write(key: PRNGKeyArray, run: TrainedRun, dataset: Dataset) -> Written:
    """Score a run and write results, curve and page into its folder.

    Args:
        key: of the draws behind the bounds.
        run: trained.
        dataset: its data.

    Returns:
        The table of scores, and what is wrong.
    """
    metrics = runs.read_metrics(run.folder)
    seconds = sum(row["seconds"] for row in metrics)
    title = f"{run.config.system} on {dataset.name}"
    scores = Table(f"Held-out images: {title}", score_rows(key, run, dataset), _COLUMNS, _NOTE)
    units = []
    if run.generative.guide is not None:
        x = jnp.asarray(dataset.validation, jnp.float32)
        units = [latent_units.unit_table(run.generative, x)]
    report.write(
        run.folder,
        title=f"Training run: {title}",
        intro=_introduction(run, dataset, seconds),
        tables=[scores, *units],
        figures=_curve(run, metrics),
        meta=runs.meta(run.config, seconds=seconds),
    )
    return Written(scores, list(filter(None, map(latent_units.collapse_warning, units))))


def over_seeds(tables: Sequence[Table]) -> Table:
    """Those of the same system from several seeds as one: means, and their spread."""
    first = tables[0]
    if len(tables) == 1:
        return first
    rows = []
    for index, row in enumerate(first.rows):
        values = np.array([table.rows[index]["log_prob"] for table in tables])
        errors = np.array([table.rows[index]["stderr"] for table in tables])
        # The seeds share their images: their errors do not average out.
        means = {"log_prob": values.mean(), "stderr": errors.mean()}
        means["bits_per_dim"] = np.mean([table.rows[index]["bits_per_dim"] for table in tables])
        spread = {"spread": values.std(ddof=1), "num_seeds": len(values)}
        rows.append(row | means | spread)
    columns = [*first.columns, Column("num_seeds", "seeds"), _SPREAD]
    return first._replace(rows=rows, columns=columns)


def score_rows(key: PRNGKeyArray, run: TrainedRun, dataset: Dataset) -> list[dict]:
    """The scores of the validation and test images, one row for each split and method.

    Args:
        key: of the draws behind the bounds.
        run: trained.
        dataset: its data.

    Returns:
        Rows with the fields of every results.json; `stderr` is over images.
    """
    rows = []
    for split, x in (("validation", dataset.validation), ("test", dataset.test)):
        start = time.perf_counter()
        scores = _scores(key, run.generative, jnp.asarray(x, jnp.float32))
        num_scored = sum(len(evidence.lower) for evidence in scores.values())
        seconds = (time.perf_counter() - start) / num_scored
        rows += [
            {
                "table": "training",
                "model": run.config.system,
                "split": split,
                "method": method,
                "log_prob": float(np.mean(np.asarray(evidence.lower, np.float64))),
                "stderr": float(np.std(evidence.lower, ddof=1) / np.sqrt(len(evidence.lower))),
                "kind": evidence.kind.name.lower(),
                "bits_per_dim": _bits_per_dim(evidence, dataset),
                "num_images": len(evidence.lower),
                "seconds": seconds,
            }
            for method, evidence in scores.items()
        ]
    return rows


def _scores(key, generative: GenerativeModel, x) -> dict[str, Evidence]:
    """Exact where the posterior or p(x) itself is; a guide's bounds; else annealing of a few."""
    scores = {}
    if generative.posterior is not None or generative.density is not None:
        scores["exact evidence"] = jax.block_until_ready(generative.log_evidence(key, x))
    if generative.guide is not None:
        draws = importance_draws(
            key,
            generative.latent,
            x,
            guide=generative.guide,
            num_samples=NUM_IMPORTANCE_SAMPLES,
            batch_size=_BATCH_SIZE,
        )
        scores["amortized q (ELBO)"] = draws.elbo()
        scores[f"importance bound, K = {NUM_IMPORTANCE_SAMPLES}"] = draws.evidence()
    if not scores:
        annealed = generative.log_evidence(key, x[:NUM_ANNEALED])
        scores["annealed from the prior"] = jax.block_until_ready(annealed)
    return scores


def _bits_per_dim(evidence: Evidence, dataset: Dataset) -> float:
    spec = dataset.spec
    mean = np.mean(np.asarray(evidence.lower, np.float64))
    return float(
        bits_per_dim(mean, dim=spec.dim, observation=spec.head, num_levels=spec.num_levels)
    )


def _introduction(run: TrainedRun, dataset: Dataset, seconds: float) -> str:
    sizes = f"{len(dataset.train)} training, {len(dataset.validation)} validation and "
    sizes += f"{len(dataset.test)} test images of {dataset.name} ({run.images.spec.head} pixels)"
    if run.system.fit is not None:
        return f"{run.config.system}, fitted in {seconds:.1f} s; {sizes}."
    return (
        f"{run.config.system}, trained for {int(run.progress.epoch)} epochs in {seconds:.1f} s; "
        f"the state of epoch {int(run.progress.best_epoch)}, the best on validation images, is "
        f"kept. {sizes}."
    )


def _curve(run: TrainedRun, metrics: list[dict]) -> list[Picture]:
    """The training curve of what has one: exact fits are a single step."""
    if len(metrics) < 2:
        return []
    name, unit = run.config.system, run.system.unit
    curve = plots.Curve(
        name,
        np.array([row["epoch"] for row in metrics]),
        np.array([row["train"]["objective"] for row in metrics]),
        np.array([row["validation"]["objective"] for row in metrics]),
    )
    caption = "The objective, larger is better: the ELBO, or what the run maximises in its place."
    title = f"Training {name}: the objective epoch by epoch"
    figure = plots.training_curves([curve], title=title, unit=unit)
    return [Picture("training", figure, caption)]
