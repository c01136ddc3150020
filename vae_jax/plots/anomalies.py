"""Scores of rows and their p values, known anomalies apart."""

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.figure import Figure

from vae_jax.plots.style import EXACT_COLOUR, PALETTE, set_title, styled

_NUM_BINS = 40
_SHOWN = 0.95  # of the rows; the few oddest would squeeze all others into one bar


@styled
def anomaly_scores(
    scores: Float[np.ndarray, " row"],
    p_values: Float[np.ndarray, " row"],
    is_anomaly: Bool[np.ndarray, " row"] | None = None,
    *,
    unit: str = "-log p(x), nats",
    title: str = "How odd are the rows?",
) -> Figure:
    """Histogram of the scores, and the distribution function of the p values.

    Args:
        scores: higher is more anomalous; the highest twentieth stands in the last bar.
        p_values: of the same rows.
        is_anomaly: of the same rows, where known.
        unit: of the scores.
        title: of the figure.
    """
    figure = Figure(figsize=(9, 3.9))
    left, right = figure.subplots(1, 2)
    shown = np.minimum(scores, np.quantile(scores, _SHOWN))
    edges = np.histogram_bin_edges(shown, _NUM_BINS)
    for label, colour, kept in _kinds(is_anomaly, len(scores)):
        left.hist(shown[kept], edges, density=True, alpha=0.6, color=colour, label=label)
        right.ecdf(p_values[kept], color=colour)
    right.plot([0, 1], [0, 1], "--", color=EXACT_COLOUR, label="uniform: rows that are normal")
    left.set(xlabel=f"{unit}  (higher is odder)", ylabel="density")
    right.set(xlabel="p value", ylabel="share of the rows below it", xlim=(0, 1), ylim=(0, 1))
    figure.legend(loc="outside lower left", ncols=3)
    set_title(figure, title)
    return figure


def _kinds(is_anomaly, num):
    if is_anomaly is None:
        return [("rows", PALETTE[0], np.ones(num, bool))]
    return [("normal", PALETTE[0], ~is_anomaly), ("anomalies", PALETTE[4], is_anomaly)]
