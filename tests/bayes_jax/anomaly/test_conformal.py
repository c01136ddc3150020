"""p values by rank: by counting, uniform on normal rows, and never 0."""

import numpy as np
import pytest
from scipy.stats import kstest

from bayes_jax import InputError
from bayes_jax.anomaly import conformal_p_values


def test_they_are_the_counts_ties_included():
    rng = np.random.default_rng(0)
    scores, calibration = rng.integers(0, 9, 40) * 1.0, rng.integers(0, 9, 25) * 1.0
    counted = [(1 + sum(other >= score for other in calibration)) / 26 for score in scores]
    np.testing.assert_allclose(conformal_p_values(scores, calibration), counted)


def test_they_are_uniform_on_normal_rows():
    rng = np.random.default_rng(1)
    # One fresh calibration each: p values that share one are not independent.
    found = [conformal_p_values(rng.normal(size=1), rng.normal(size=199))[0] for _ in range(1000)]
    assert kstest(found, "uniform").pvalue > 0.01
    for level in (0.01, 0.05, 0.2):
        stderr = (level * (1 - level) / len(found)) ** 0.5
        assert abs(np.mean(np.asarray(found) <= level) - level) < 4 * stderr


def test_they_are_never_zero():
    found = conformal_p_values(np.asarray([1e9, np.inf, -np.inf]), np.arange(9.0))
    np.testing.assert_allclose(found, [0.1, 0.1, 1.0])


@pytest.mark.parametrize(
    ("scores", "calibration", "message"),
    [
        ([1.0], [], "calibration holds no scores"),
        ([np.nan, 1.0], [1.0], "scores hold NaN in 1 rows"),
        ([1.0], [np.nan], "calibration hold NaN in 1 rows"),
    ],
)
def test_what_has_no_rank_is_refused(scores, calibration, message):
    with pytest.raises(InputError, match=message):
        conformal_p_values(np.asarray(scores), np.asarray(calibration))
