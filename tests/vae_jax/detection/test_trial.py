"""Splits that leak nothing, detectors that fit what they are given, judgements that are counts."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal
from sklearn.metrics import roc_auc_score

from bayes_jax import InputError
from vae_jax.detection import trial
from vae_jax.detection.detectors import DETECTORS, QUICK, RECOMMENDED
from vae_jax.detection.protocols import split_contaminated, split_normal, standardise
from vae_jax.detection.rows import Rows, digits


@pytest.fixture(scope="module")
def rows():
    """A correlated Gaussian, and a tenth of the rows far from it."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(220, 3)) @ np.array([[1, 0.9, 0], [0, 0.4, 0.5], [0, 0, 0.3]])
    x[:20] = 5 + rng.normal(size=(20, 3))
    return Rows(x, np.arange(220) < 20)


def test_no_row_plays_two_parts_and_no_anomaly_is_fitted(rows):
    split = split_normal(rows.is_anomaly, seed=1)
    everything = np.concatenate(split)
    assert sorted(everything) == list(range(220))
    assert [len(part) for part in split] == [80, 20, 120]
    assert not rows.is_anomaly[np.concatenate(split[:2])].any()
    assert rows.is_anomaly[split.test].sum() == 20


def test_the_seed_makes_the_split(rows):
    first, again, other = (split_normal(rows.is_anomaly, seed=seed).fit for seed in (1, 1, 2))
    assert list(first) == list(again) != list(other)


def test_contaminated_is_everything():
    assert [list(part) for part in split_contaminated(4)] == [[0, 1, 2, 3]] * 3


def test_moments_are_those_of_the_fitted_rows_alone():
    x = np.array([[0.0, 7.0], [2.0, 7.0], [100.0, 8.0]])
    found = standardise(x, np.array([0, 1]))
    np.testing.assert_allclose(found, [[-1, 0], [1, 0], [99, 1]])


@pytest.mark.slow
@pytest.mark.parametrize("name", [*QUICK, "vae_elbo"])
def test_every_detector_finds_what_lies_far_out(name, rows):
    x = standardise(rows.x, np.flatnonzero(~rows.is_anomaly))
    score = DETECTORS[name](0, x[~rows.is_anomaly][:21])
    assert roc_auc_score(rows.is_anomaly, score(x)) > 0.95


def test_the_densities_are_densities(rows):
    x = standardise(rows.x, np.arange(220))
    mean, covariance = np.mean(x, axis=0), np.cov(x, rowvar=False, bias=True)
    values, vectors = np.linalg.eigh(covariance)
    kept = 1 + np.sum(np.cumsum(values[::-1]) / np.sum(values) < 0.9)
    values[:-kept] = np.mean(values[:-kept])
    expected = -multivariate_normal(mean, (vectors * values) @ vectors.T).logpdf(x)
    np.testing.assert_allclose(DETECTORS["ppca"](0, x)(x), expected, rtol=1e-4)


def test_reconstruction_is_its_expectation(rows):
    x = standardise(rows.x, np.arange(220))
    found = DETECTORS["ppca_reconstruction"](0, x)(x)
    surprise = DETECTORS["ppca"](0, x)(x)
    # -E log p(x | z) = -log p(x) - KL(posterior, prior) for the exact posterior.
    assert np.all(found < surprise + 0.5)
    assert np.corrcoef(found, surprise)[0, 1] > 0.5


def test_labels_are_not_read_where_they_may_not_be(rows):
    def scores(table):
        ran = trial.run(table, ["trimmed_gaussian"], protocol="contaminated", seeds=[0])
        return [scored.score for _, scored in ran]

    np.testing.assert_array_equal(scores(rows), scores(Rows(rows.x, ~rows.is_anomaly)))
    np.testing.assert_array_equal(scores(rows), scores(Rows(rows.x, None)))


def test_normal_rows_have_uniform_p_values_on_average():
    rng = np.random.default_rng(3)
    rows = Rows(rng.normal(size=(420, 2)), np.arange(420) < 20)
    ran = trial.run(rows, ["trimmed_gaussian"], protocol="normal", seeds=range(30))
    found = [np.mean(scored.p_value <= 0.1) for _, scored in ran]
    # Both kinds are the same here. 40 rows calibrate: the share is Beta, its sd 0.05.
    assert abs(np.mean(found) - 4 / 41) < 4 * 0.05 / 30**0.5


def test_a_judgement_is_the_mean_over_seeds(rows):
    ran = trial.run(rows, ["isolation_forest"], protocol="normal", seeds=[0, 1])
    scored = [one for _, one in ran]
    options = {"protocol": "normal", "recommended": "ppca"}
    row = trial.judge("isolation_forest", scored, rows.is_anomaly, **options)
    each = [roc_auc_score(rows.is_anomaly[one.index], one.score) for one in scored]
    assert row["roc_auc"] == pytest.approx(np.mean(each))
    assert row["roc_auc_low"] <= row["roc_auc"] <= row["roc_auc_high"]
    assert not row["recommended"]
    assert (row["num_seeds"], row["num_tested"], row["num_anomalies"]) == (2, 120, 20)
    found = [np.mean(one.p_value[rows.is_anomaly[one.index]] <= 0.05) for one in scored]
    assert row["found"] == pytest.approx(np.mean(found))


def test_what_is_recommended_is_exact_and_there():
    assert {*RECOMMENDED.values()} <= {*DETECTORS}
    assert {*RECOMMENDED} == {"normal", "contaminated"}


def test_too_few_normal_rows_are_refused():
    with pytest.raises(InputError, match="5 rows are normal: expected at least 10"):
        split_normal(np.arange(12) >= 5, seed=0)


def test_digits_are_there_without_a_file():
    found = digits(3)
    assert found.x.shape == (1797, 64)
    assert found.is_anomaly.sum() == 183
