"""One table, one detector or several, a few seeds: what was scored, and how well it was ranked."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from bayes_jax.anomaly import conformal_p_values
from vae_jax.detection.detectors import DETECTORS
from vae_jax.detection.protocols import Protocol, split_contaminated, split_normal, standardise
from vae_jax.detection.ranking import bootstrap_weights, interval, rank
from vae_jax.detection.rows import Rows

NUM_REPLICATES = 500


class Scored(NamedTuple):
    """The tested rows of one seed, by one detector.

    Attributes:
        index: of the rows in the table, `[test]`.
        score: higher is more anomalous, `[test]`.
        p_value: share of the calibration rows that are as odd, `[test]`.
    """

    index: Int[np.ndarray, " test"]
    score: Float[np.ndarray, " test"]
    p_value: Float[np.ndarray, " test"]


def run(
    rows: Rows, names: Sequence[str], *, protocol: Protocol, seeds: Sequence[int]
) -> Iterator[tuple[str, Scored]]:
    """Fit and score: all detectors of a seed on the same rows.

    Args:
        rows: the table; its labels choose normal rows where the protocol says so, and no more.
        names: keys of `DETECTORS`.
        protocol: who sees which rows.
        seeds: of the splits and the detectors.

    Yields:
        The name of a detector and what it made of one seed, as soon as it is done.

    Raises:
        InputError: too few normal rows.
    """
    for seed in seeds:
        split = (
            split_normal(rows.is_anomaly, seed=seed)
            if protocol == "normal"
            else split_contaminated(len(rows.x))
        )
        x = standardise(rows.x, split.fit)
        for name in names:
            score = DETECTORS[name](seed, x[split.fit])
            found, normal = score(x[split.test]), score(x[split.calibration])
            yield name, Scored(split.test, found, conformal_p_values(found, normal))


def judge(
    name: str,
    scored: Sequence[Scored],
    is_anomaly: Bool[np.ndarray, " num"],
    *,
    protocol: str,
    recommended: str,
) -> dict:
    """One row of results: means over seeds, and intervals for other rows of the same kind.

    A replicate of the bootstrap weighs each row of the table the same in all seeds, since it is the
    rows that are few, and their splits that are many.

    Args:
        name: of the detector.
        scored: of every seed.
        is_anomaly: of all rows of the table.
        protocol: it was tried under.
        recommended: the detector that was fixed before labels were read.
    """
    once = np.ones((1, len(is_anomaly)))
    drawn = bootstrap_weights(0, num_rows=len(is_anomaly), num_replicates=NUM_REPLICATES)
    weights = np.concatenate([once, drawn])
    each = [rank(one.score, is_anomaly[one.index], weights[:, one.index]) for one in scored]
    row = {
        "table": "detection",
        "score": name,
        "protocol": protocol,
        "recommended": name == recommended,
    }
    for measure in ("roc_auc", "average_precision"):
        values = np.array([getattr(one, measure) for one in each])
        low, high = interval(values[:, 1:].mean(axis=0))
        row |= {
            measure: float(values[:, 0].mean()),
            f"{measure}_low": low,
            f"{measure}_high": high,
            f"{measure}_over_seeds": float(np.std(values[:, 0])),
        }
    return row | {
        "false_alarms": float(np.mean([_alarms(one, ~is_anomaly) for one in scored])),
        "found": float(np.mean([_alarms(one, is_anomaly) for one in scored])),
        "num_tested": len(scored[0].index),
        "num_anomalies": int(is_anomaly.sum()),
        "num_seeds": len(scored),
    }


def _alarms(scored: Scored, of_kind, level=0.05) -> float:
    """The share of rows of a kind with p values of at most 0.05."""
    return float(np.mean(scored.p_value[of_kind[scored.index]] <= level))
