"""What a person sees of one training run: its scores on held-out images, and its curve."""

import time

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from bayes_jax import Evidence, GenerativeModel, importance_draws
from vae_jax import plots, report, runs
from vae_jax.data.dataset import Dataset
from vae_jax.report import Picture
from vae_jax.tables import Column, Table
from vae_jax.trained import TrainedRun

NUM_IMPORTANCE_SAMPLES = 50
_BATCH_SIZE = 500  # images in memory at once

_COLUMNS = [
    Column("split", "images of"),
    Column("method", "scored by"),
    Column("log_prob", "log p(x), nats per image", ".3f", "stderr"),
    Column("kind", "kind"),
    Column("num_images", "images"),
]
_NOTE = (
    "log p(x): mean over all images of the split, ± standard error over images. kind: 'exact' is "
    "the value, 'lower' a bound below it in expectation (infer.py gives tighter ones)."
)


def write(key: PRNGKeyArray, run: TrainedRun, dataset: Dataset) -> Table:
    """Score a run and write results, curve and page into its folder.

    Args:
        key: of the draws behind the bounds.
        run: trained.
        dataset: its data.

    Returns:
        The table of scores.
    """
    metrics = runs.read_metrics(run.folder)
    seconds = sum(row["seconds"] for row in metrics)
    title = f"{run.config.system} on {dataset.name}"
    table = Table(f"Held-out images: {title}", score_rows(key, run, dataset), _COLUMNS, _NOTE)
    report.write(
        run.folder,
        title=f"Training run: {title}",
        intro=_introduction(run, dataset, seconds),
        tables=[table],
        figures=_curve(run.config.system, metrics),
        meta=runs.meta(run.config, seconds=seconds),
    )
    return table


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
        seconds = (time.perf_counter() - start) / (len(x) * len(scores))
        rows += [
            {
                "table": "training",
                "model": run.config.system,
                "split": split,
                "method": method,
                "log_prob": float(np.mean(np.asarray(evidence.lower, np.float64))),
                "stderr": float(np.std(evidence.lower, ddof=1) / np.sqrt(len(x))),
                "kind": evidence.kind.name.lower(),
                "num_images": len(x),
                "seconds": seconds,
            }
            for method, evidence in scores.items()
        ]
    return rows


def _scores(key, generative: GenerativeModel, x) -> dict[str, Evidence]:
    """Exact where the posterior is; the guide's bounds where there is a guide."""
    scores = {}
    if generative.posterior is not None:
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
    return scores


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


def _curve(name: str, metrics: list[dict]) -> list[Picture]:
    """The training curve of what has one: exact fits are a single step."""
    if len(metrics) < 2:
        return []
    curve = plots.Curve(
        name,
        np.array([row["epoch"] for row in metrics]),
        np.array([row["train"]["objective"] for row in metrics]),
        np.array([row["validation"]["objective"] for row in metrics]),
    )
    caption = "The objective, larger is better: the ELBO, for IWAE its tighter bound."
    title = f"Training {name}: the objective epoch by epoch"
    return [Picture("training", plots.training_curves([curve], title=title), caption)]
