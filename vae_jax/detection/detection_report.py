"""What a person sees of a detection: the rows with their p values, the table, the figure."""

import csv
import io

import numpy as np
from jaxtyping import Bool

from vae_jax import plots
from vae_jax.detection.protocols import Protocol
from vae_jax.detection.trial import Scored
from vae_jax.report import Picture
from vae_jax.tables import Column, Table

COLUMNS = [
    Column("score", "score"),
    Column("recommended", "recommended", meaning="fixed before labels were read"),
    Column("roc_auc", "ROC-AUC", ".4f", meaning="mean over seeds, of test rows"),
    Column("roc_auc_low", "from", ".4f"),
    Column(
        "roc_auc_high", "to", ".4f", meaning="ends of 95% intervals, by a bootstrap over test rows"
    ),
    Column("average_precision", "average precision", ".4f"),
    Column("average_precision_low", "from", ".4f"),
    Column("average_precision_high", "to", ".4f"),
    Column("false_alarms", "false alarms", ".3f", meaning="share of normal rows with p <= 0.05"),
    Column("found", "found", ".3f", meaning="share of anomalies with p <= 0.05"),
]
_HOW = {
    "normal": "Detectors were fitted on normal rows only, two fifths of them; a tenth calibrates "
    "the p values; the other half and all anomalies are tested. Of normal rows a share of a has "
    "p <= a, on average over calibrations.",
    "contaminated": "Detectors were fitted on all rows, not told which are normal, and the same "
    "rows are tested. A p value is the share of all rows that are as odd: a rank, not a test.",
}


def scores_csv(scored: Scored) -> bytes:
    """Lines `row,score,p_value`, the oddest first; rows are counted from 0.

    Args:
        scored: of one seed.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["row", "score", "p_value"])
    for place in np.argsort(-scored.score, kind="stable"):
        row = scored.index[place], scored.score[place], scored.p_value[place]
        writer.writerow([int(row[0]), *(f"{value:.6g}" for value in row[1:])])
    return text.getvalue().encode()


def table(rows: list[dict]) -> Table:
    """The measures of every score, the best first.

    Args:
        rows: of `vae_jax.detection.trial.judge`.
    """
    best_first = sorted(rows, key=lambda row: -row["roc_auc"])
    return Table("Anomalies found", best_first, COLUMNS)


def introduction(name: str, num_rows: int, num_columns: int, protocol: Protocol) -> str:
    """What was done and how to read it.

    Args:
        name: of the table.
        num_rows: of the table.
        num_columns: of the table.
        protocol: who saw which rows.
    """
    return (
        f"{num_rows} rows of {num_columns} columns, {name}. {_HOW[protocol]}\n\n"
        "scores.csv has the tested rows of the first seed, the oddest first: their scores are "
        "-log p(x) in nats of the standardised columns, by the recommended density."
    )


def picture(
    scored: Scored,
    is_anomaly: Bool[np.ndarray, " num"] | None,
    *,
    name: str,
    unit: str = "-log p(x), nats",
) -> Picture:
    """The scores of one seed.

    Args:
        scored: by the recommended detector.
        is_anomaly: of all rows of the table, where known.
        name: of the detector.
        unit: of its scores.
    """
    known = None if is_anomaly is None else is_anomaly[scored.index]
    title = f"How odd is each? {name.replace('_', ' ')}"
    figure = plots.anomaly_scores(scored.score, scored.p_value, known, unit=unit, title=title)
    caption = "Left: the highest twentieth stands in the last bar. Right: normal rows on the line."
    return Picture(f"anomaly_scores_{name}", figure, caption)
