"""Trimming against all subsets, and its laws."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import multivariate_normal

from bayes_jax import InputError
from bayes_jax.exact import trimmed
from bayes_jax.exact.trimmed import fit_params


def rows_with_outliers(num=12, num_odd=3):
    x = np.random.default_rng(0).normal(size=(num, 2))
    x[:num_odd] = [8, -8] + 0.3 * x[:num_odd]
    return x


def moments(x):
    return np.mean(x, axis=0), np.cov(x.T, bias=True)


def test_it_finds_the_best_of_all_subsets():
    x = rows_with_outliers()
    subsets = itertools.combinations(range(len(x)), 9)
    best = min(subsets, key=lambda kept: np.linalg.det(moments(x[list(kept)])[1]))
    found = fit_params(x, trimmed=0.25)
    mean, covariance = moments(x[list(best)])
    np.testing.assert_allclose(found.loc[0], mean, atol=1e-5)
    np.testing.assert_allclose(found.scale_tril[0] @ found.scale_tril[0].T, covariance, atol=1e-4)


def test_without_trimming_it_is_maximum_likelihood():
    x = rows_with_outliers()
    found, (mean, covariance) = fit_params(x, trimmed=0.0), moments(x)
    np.testing.assert_allclose(found.loc[0], mean, atol=1e-5)
    np.testing.assert_allclose(found.scale_tril[0] @ found.scale_tril[0].T, covariance, rtol=1e-4)


def test_what_is_kept_becomes_ever_more_likely():
    x = np.random.default_rng(1).standard_t(2, size=(300, 3))

    def kept_log_prob(num_steps):
        log_probs = fit_params(x, num_steps=num_steps).log_probs(jnp.asarray(x, jnp.float32))
        return float(np.mean(np.sort(log_probs[:, 0])[-225:]))

    values = [kept_log_prob(num) for num in range(1, 6)]
    assert np.all(np.diff(values) > -1e-5)
    assert values[-1] > values[0]


def test_its_evidence_is_the_density():
    x = rows_with_outliers()
    params = fit_params(x)
    found = trimmed.fit(x).log_evidence(jax.random.key(0), jnp.asarray(x, jnp.float32)).lower
    covariance = params.scale_tril[0] @ params.scale_tril[0].T
    expected = multivariate_normal(params.loc[0], covariance).logpdf(x)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_a_constant_column_meets_the_floor():
    x = np.column_stack([np.random.default_rng(2).normal(size=40), np.zeros(40)])
    covariance = fit_params(x, min_variance=0.01).scale_tril[0] ** 2
    np.testing.assert_allclose(covariance[1, 1], 0.01, rtol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"trimmed": 1.0}, "trimmed is 1.0: expected a share"),
        ({"trimmed": 0.9}, "of 12 rows it leaves 1, not 2"),
        ({"min_variance": 0.0}, "min_variance is 0.0: expected a positive number"),
    ],
)
def test_what_cannot_be_is_refused(options, message):
    with pytest.raises(InputError, match=message):
        fit_params(rows_with_outliers(), **options)
