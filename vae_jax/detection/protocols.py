"""Who sees which rows: to fit on, to calibrate p values with, to be tested on.

`normal`: the detector is fitted on normal rows alone, as where good parts are at hand. Half of them
are given away, of those a fifth to calibrate; the other half and all anomalies are tested.
`contaminated`: nobody knows what is normal, so all rows are all three, labels are read only by the
judge, and a p value is the share of all rows that are as odd.
"""

from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from bayes_jax.errors import InputError
from vae_jax.detection.rows import MIN_ROWS

Protocol = Literal["normal", "contaminated"]

CALIBRATION_SHARE = 0.2


class Split(NamedTuple):
    """Indices of rows.

    Attributes:
        fit: seen by detectors.
        calibration: what p values are counted in.
        test: what is scored.
    """

    fit: Int[np.ndarray, " fit"]
    calibration: Int[np.ndarray, " calibration"]
    test: Int[np.ndarray, " test"]


def split_normal(is_anomaly: Bool[np.ndarray, " num"], *, seed: int) -> Split:
    """Halves of the normal rows, the anomalies with the second.

    Args:
        is_anomaly: of every row.
        seed: of the halves.

    Raises:
        InputError: fewer than 10 normal rows.
    """
    normal = np.random.default_rng(seed).permutation(np.flatnonzero(~is_anomaly))
    if len(normal) < MIN_ROWS:
        raise InputError(
            f"{len(normal)} rows are normal: expected at least {MIN_ROWS} to fit on half of them; "
            "try --protocol contaminated"
        )
    half = len(normal) // 2
    num_calibration = round(CALIBRATION_SHARE * half)
    test = np.concatenate([normal[half:], np.flatnonzero(is_anomaly)])
    return Split(normal[num_calibration:half], normal[:num_calibration], np.sort(test))


def split_contaminated(num: int) -> Split:
    """All rows for everything.

    Args:
        num: of rows.
    """
    everything = np.arange(num)
    return Split(everything, everything, everything)


def standardise(
    x: Float[np.ndarray, "num dim"], fit: Int[np.ndarray, " fit"]
) -> Float[np.ndarray, "num dim"]:
    """Mean 0 and variance 1 of the fitted rows in every column; where all are equal, mean 0.

    Args:
        x: all rows.
        fit: of which the moments are taken.
    """
    scale = np.std(x[fit], axis=0)
    return (x - np.mean(x[fit], axis=0)) / np.where(scale > 0, scale, 1)
