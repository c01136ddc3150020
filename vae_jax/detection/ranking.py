"""How well scores rank anomalies above normal rows, and how sure that is.

Weighted rows make intervals cheap: a Bayesian bootstrap draws exponential weights of all rows, so
that no replicate lacks a class, and one sort serves all replicates.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from bayes_jax.errors import InputError


class Ranking(NamedTuple):
    """Measures of one list of scores, for several weightings of the rows.

    Attributes:
        roc_auc: P(score of an anomaly > that of a normal row), ties a half, `[weighting]`.
        average_precision: sum over thresholds of precision times what recall gains, `[weighting]`.
    """

    roc_auc: Float[np.ndarray, " weighting"]
    average_precision: Float[np.ndarray, " weighting"]


def rank(
    scores: Float[np.ndarray, " num"],
    is_anomaly: Bool[np.ndarray, " num"],
    weights: Float[np.ndarray, "weighting num"],
) -> Ranking:
    """The measures, as scikit-learn defines them, for all weightings at once.

    Args:
        scores: higher is more anomalous.
        is_anomaly: of every row, some of either kind.
        weights: of every row, positive.

    Raises:
        InputError: scores that have no rank.
    """
    if np.isnan(scores).any():
        raise InputError(f"scores hold NaN in {np.isnan(scores).sum()} rows: expected numbers")
    order = np.argsort(-scores, kind="stable")
    falling, weights = scores[order], weights[:, order]
    starts = np.flatnonzero(np.append(True, falling[1:] != falling[:-1]))  # of ties

    def up_to_threshold(kept):
        return np.cumsum(np.add.reduceat(np.where(kept, weights, 0), starts, axis=1), axis=1)

    hits, alarms = up_to_threshold(is_anomaly[order]), up_to_threshold(~is_anomaly[order])
    new_hits, new_alarms = (np.diff(found, axis=1, prepend=0) for found in (hits, alarms))
    area = np.sum(new_alarms * (hits - new_hits / 2), axis=1) / (hits[:, -1] * alarms[:, -1])
    precision = hits / (hits + alarms)
    return Ranking(area, np.sum(new_hits * precision, axis=1) / hits[:, -1])


def bootstrap_weights(
    seed: int, *, num_rows: int, num_replicates: int
) -> Float[np.ndarray, "replicate num"]:
    """Exponential weights of the rows, which up to their sum are Dirichlet(1, ..., 1).

    Args:
        seed: of the weights.
        num_rows: of them all, whichever are tested.
        num_replicates: lists of weights.

    References:
        Rubin 1981, "The Bayesian bootstrap", https://doi.org/10.1214/aos/1176345338.
    """
    return np.random.default_rng(seed).exponential(size=(num_replicates, num_rows))


def interval(replicates: Float[np.ndarray, " replicate"]) -> tuple[float, float]:
    """The central 95 % of replicates."""
    low, high = np.quantile(replicates, (0.025, 0.975))
    return float(low), float(high)
