"""p values of scores by rank among normal rows: valid whatever the model, and however it erred."""

import numpy as np
from jaxtyping import Array, Float

from bayes_jax.errors import InputError


def conformal_p_values(
    scores: Float[Array | np.ndarray, " batch"],
    calibration: Float[Array | np.ndarray, " num"],
) -> Float[np.ndarray, " batch"]:
    """(1 + #{calibration scores >= score}) / (1 + num), which is never 0.

    Of a normal row that is exchangeable with the calibration rows, P(p <= a) <= a for every a in
    [0, 1]. It holds on average over calibration rows: the p values of one batch share them.

    Args:
        scores: higher is more anomalous.
        calibration: scores by the same model of normal rows that it was not fitted on.

    Returns:
        p values, from 1 / (1 + num) to 1.

    Raises:
        InputError: no calibration scores, or one that is NaN and has no rank.

    References:
        Vovk, Gammerman, Shafer 2005, "Algorithmic learning in a random world",
        https://doi.org/10.1007/b106715; Bates, Candes, Lei, Romano, Sesia 2023, "Testing for
        outliers with conformal p-values", arXiv 2104.08279.
    """
    scores, calibration = np.asarray(scores), np.sort(np.asarray(calibration))
    if len(calibration) == 0:
        raise InputError("calibration holds no scores: expected those of normal rows, 1 at least")
    for name, values in (("scores", scores), ("calibration", calibration)):
        if np.isnan(values).any():
            raise InputError(f"{name} hold NaN in {np.isnan(values).sum()} rows: expected numbers")
    below = np.searchsorted(calibration, scores, side="left")
    return (1 + len(calibration) - below) / (1 + len(calibration))
