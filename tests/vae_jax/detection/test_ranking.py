"""ROC-AUC and average precision against scikit-learn's, and intervals that cover."""

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import average_precision_score, roc_auc_score

from bayes_jax import InputError
from vae_jax.detection.ranking import bootstrap_weights, interval, rank


@pytest.mark.parametrize("decimals", [1, 8])
def test_they_are_those_of_sklearn_ties_and_weights_included(decimals):
    rng = np.random.default_rng(0)
    is_anomaly = rng.random(200) < 0.2
    scores = np.round(rng.normal(size=200) + is_anomaly, decimals)
    weights = np.stack([np.ones(200), *rng.exponential(size=(3, 200))])
    found = rank(scores, is_anomaly, weights)
    for measure, reference in (
        (found.roc_auc, roc_auc_score),
        (found.average_precision, average_precision_score),
    ):
        expected = [reference(is_anomaly, scores, sample_weight=each) for each in weights]
        np.testing.assert_allclose(measure, expected, rtol=1e-12)


def test_infinite_scores_have_a_rank_and_nan_has_none():
    is_anomaly = np.array([True, True, False, False])
    once = np.ones((1, 4))
    found = rank(np.array([np.inf, np.inf, np.inf, -np.inf]), is_anomaly, once)
    assert found.roc_auc[0] == 0.75
    with pytest.raises(InputError, match="scores hold NaN in 1 rows"):
        rank(np.array([np.nan, 0.0, 1.0, 2.0]), is_anomaly, once)


def test_intervals_cover_the_true_area():
    rng = np.random.default_rng(1)
    truth, num_repeats = norm.cdf(1 / 2**0.5), 300
    is_anomaly = np.arange(150) < 40
    weights = bootstrap_weights(0, num_rows=150, num_replicates=300)

    def covers():
        low, high = interval(rank(rng.normal(size=150) + is_anomaly, is_anomaly, weights).roc_auc)
        return low <= truth <= high

    covered = np.mean([covers() for _ in range(num_repeats)])
    assert abs(covered - 0.95) < 4 * (0.95 * 0.05 / num_repeats) ** 0.5
