"""What a person sees of one training run: its scores on held-out examples, and its curve."""

import time
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from bayes_jax import Evidence, GenerativeModel, importance_draws
from vae_jax import latent_units, plots, report, runs
from vae_jax.data.dataset import Dataset
from vae_jax.data.kinds import kind_of
from vae_jax.data.text import TextDataset
from vae_jax.report import Picture
from vae_jax.scores import mean_log_prob, scores_of, warning
from vae_jax.tables import Column, Table
from vae_jax.trained import TrainedRun

NUM_IMPORTANCE_SAMPLES = 50
NUM_ANNEALED = 64
"""Examples scored by annealing from the prior, of models that have neither guide nor density."""

_SPREAD = Column("spread", "sd over seeds", ".3f")


class Written(NamedTuple):
    """What a person is shown of a run.

    Attributes:
        scores: of the held-out examples.
        information: what its latent says of them, where its kind of data has tables of that.
        warnings: one line each.
    """

    scores: Table
    information: list[Table]
    warnings: list[str]


def write(key: PRNGKeyArray, run: TrainedRun, dataset: Dataset | TextDataset) -> Written:
    """Score a run and write results, curve and page into its folder.

    Args:
        key: of the draws behind the bounds.
        run: trained.
        dataset: its data.

    Returns:
        The tables, and what is wrong.
    """
    metrics = runs.read_metrics(run.folder)
    seconds = sum(row["seconds"] for row in metrics)
    title = f"{run.config.system} on {dataset.name}"
    scored = _scored(key, run, dataset)
    scores = _score_table(run, dataset, scored, title)
    information, units = [], []
    if run.generative.guide is not None:
        x = jnp.asarray(dataset.validation, jnp.float32)
        information = scores_of(run.seen).of_latents(key, run.generative, dataset)
        units = [latent_units.unit_table(run.generative, x)]
    report.write(
        run.folder,
        title=f"Training run: {title}",
        intro=_introduction(run, dataset, seconds),
        tables=[scores, *information, *units],
        figures=_curve(run, metrics),
        meta=runs.meta(run.config, seconds=seconds),
    )
    noun = kind_of(run.config.data).noun
    unknown = [
        warning(f"{each.split} {noun}, {each.method}", each.evidence, noun=noun) for each in scored
    ]
    warnings = filter(None, [*unknown, *map(latent_units.collapse_warning, units)])
    return Written(scores, information, list(warnings))


def over_seeds(tables: Sequence[Table]) -> Table:
    """Those of the same system from several seeds as one: means, and their spread."""
    first = tables[0]
    if len(tables) == 1:
        return first
    rows = []
    for index, row in enumerate(first.rows):
        values = {
            name: np.array([table.rows[index][name] for table in tables])
            for name, value in row.items()
            if isinstance(value, float)
        }
        # The seeds share their examples: their errors do not average out.
        means = {name: each.mean() for name, each in values.items()}
        spread = {"spread": values["log_prob"].std(ddof=1), "num_seeds": len(tables)}
        rows.append(row | means | spread)
    columns = [*first.columns, Column("num_seeds", "seeds"), _SPREAD]
    return first._replace(rows=rows, columns=columns)


class _Scored(NamedTuple):
    split: str
    method: str
    evidence: Evidence
    seconds: float  # an example


def _score_table(run: TrainedRun, dataset, scored: list[_Scored], title: str) -> Table:
    noun, scores = kind_of(run.config.data).noun, scores_of(run.seen)
    columns = [
        Column("split", f"{noun} of"),
        Column("method", "scored by"),
        *scores.columns,
        Column("kind", "kind"),
        Column(f"num_{noun}", noun),
    ]
    note = (
        f"log p(x): mean over all {noun} of the split, ± standard error over {noun}. kind: 'exact' "
        f"is the value, 'lower' a bound below it in expectation. {scores.note}"
    )
    rows = [_score_row(run, dataset, entry) for entry in scored]
    return Table(f"Held-out {noun}: {title}", rows, columns, note)


def score_rows(key: PRNGKeyArray, run: TrainedRun, dataset: Dataset | TextDataset) -> list[dict]:
    """The scores of the validation and test examples, one row for each split and method.

    Args:
        key: of the draws behind the bounds.
        run: trained.
        dataset: its data.

    Returns:
        Rows with the fields of every results.json; `stderr` is over examples.
    """
    return [_score_row(run, dataset, entry) for entry in _scored(key, run, dataset)]


def _scored(key, run: TrainedRun, dataset) -> list[_Scored]:
    of_kind, found = scores_of(run.seen), []
    for split, x in (("validation", dataset.validation), ("test", dataset.test)):
        start = time.perf_counter()
        x = jnp.asarray(x, jnp.float32)
        scores = _scores(key, run.generative, x, num_at_once=of_kind.num_at_once)
        num_scored = sum(len(evidence.lower) for evidence in scores.values())
        seconds = (time.perf_counter() - start) / num_scored
        found += [_Scored(split, method, evidence, seconds) for method, evidence in scores.items()]
    return found


def _score_row(run: TrainedRun, dataset, entry: _Scored) -> dict:
    evidence, num = entry.evidence, len(entry.evidence.lower)
    return {
        "table": "training",
        "model": run.config.system,
        "split": entry.split,
        "method": entry.method,
        "log_prob": mean_log_prob(evidence),
        "stderr": float(np.std(evidence.lower, ddof=1) / np.sqrt(num)),
        "kind": evidence.kind.name.lower(),
        **scores_of(run.seen).measures(evidence, dataset, entry.split),
        f"num_{kind_of(run.config.data).noun}": num,
        "seconds": entry.seconds,
    }


def _scores(key, generative: GenerativeModel, x, *, num_at_once: int) -> dict[str, Evidence]:
    """Exact where the posterior or p(x) itself is; a guide's bounds; else annealing of a few."""
    scores = {}
    if generative.posterior is not None or generative.latent is None:
        scores["exact evidence"] = jax.block_until_ready(generative.log_evidence(key, x))
    if generative.guide is not None:
        draws = importance_draws(
            key,
            generative.latent,
            x,
            guide=generative.guide,
            num_samples=NUM_IMPORTANCE_SAMPLES,
            batch_size=num_at_once,
        )
        scores["amortized q (ELBO)"] = draws.elbo()
        scores[f"importance bound, K = {NUM_IMPORTANCE_SAMPLES}"] = draws.evidence()
    if not scores:
        annealed = generative.log_evidence(key, x[:NUM_ANNEALED])
        scores["annealed from the prior"] = jax.block_until_ready(annealed)
    return scores


def _introduction(run: TrainedRun, dataset: Dataset | TextDataset, seconds: float) -> str:
    noun = kind_of(run.config.data).noun
    sizes = f"{len(dataset.train)} training, {len(dataset.validation)} validation and "
    sizes += f"{len(dataset.test)} test {noun} of {dataset.name} "
    sizes += f"({scores_of(run.seen).told(run.seen)})"
    if run.system.fit is not None:
        return f"{run.config.system}, fitted in {seconds:.1f} s; {sizes}."
    return (
        f"{run.config.system}, trained for {int(run.progress.epoch)} epochs in {seconds:.1f} s; "
        f"the state of epoch {int(run.progress.best_epoch)}, the best on validation {noun}, is "
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
    noun = kind_of(run.config.data).noun
    figure = plots.training_curves([curve], title=title, unit=unit, noun=noun)
    return [Picture("training", figure, caption)]
