"""What the measures say of imputations whose quality is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bayes_jax.errors import InputError
from bayes_jax.estimates import EvidenceKind
from bayes_jax.imputation import covered, impute, impute_by_mcmc, measure

KEY = jax.random.key(0)


def test_intervals_cover_as_often_as_they_say(generative, batch):
    x, missing = batch(1000)
    found = measure(generative, impute(KEY, generative, x, missing), x, missing)
    assert 0.87 < float(jnp.mean(found.coverage)) < 0.93
    assert found.kind == EvidenceKind.EXACT


def test_mcmc_measures_as_the_closed_form_does(generative, batch):
    """Intervals cover; the log mean over draws of z is near the exact log p(x_missing | ...)."""
    x, missing = batch(300)
    exact = measure(generative, impute(KEY, generative, x, missing), x, missing)
    options = {"num_chains": 4, "num_warmup": 100, "num_samples": 80}
    draws = impute_by_mcmc(KEY, generative.latent, x, missing, **options)
    found = measure(generative, draws, x, missing, batch_size=100)
    assert 0.87 < float(jnp.mean(found.coverage)) < 0.93
    assert found.kind == EvidenceKind.ESTIMATE
    assert abs(float(jnp.mean(found.log_prob - exact.log_prob))) < 0.01
    np.testing.assert_allclose(
        jnp.mean(found.squared_error), jnp.mean(exact.squared_error), rtol=0.02
    )


@pytest.mark.parametrize("num_draws", [5, 40])
@pytest.mark.parametrize("probs", [0.02, 0.5])
def test_coverage_is_nominal_for_pixels_of_two_values_too(num_draws, probs):
    values = jax.random.bernoulli(KEY, probs, (num_draws + 1, 20_000)).astype(float)
    shares = covered(values[0], values[1:], probability=0.9)
    stderr = np.std(shares) / np.sqrt(shares.size)
    assert abs(float(jnp.mean(shares)) - 0.9) < 4 * stderr


def test_coverage_counts_ranks():
    draws = jnp.arange(9.0)[:, None]
    inside = [float(covered(jnp.array([x]), draws, probability=0.8)[0]) for x in (-1.0, 4.5, 9.0)]
    np.testing.assert_allclose(inside, [0.0, 1.0, 0.0], atol=1e-5)


def test_errors_and_log_prob_are_those_of_the_joint_normal(generative, batch):
    """By hand, in double precision."""
    x, missing = batch(20)
    params = generative.posterior.args[0]
    found = measure(generative, impute(KEY, generative, x, missing), x, missing)
    loading, mean = np.asarray(params.loading, np.float64), np.asarray(params.mean, np.float64)
    joint = loading @ loading.T + np.diag(np.asarray(params.variance, np.float64))
    for index, (row, mask) in enumerate(zip(np.asarray(x, float), missing, strict=True)):
        mask = np.asarray(mask)
        gain = joint[np.ix_(mask, ~mask)] @ np.linalg.inv(joint[np.ix_(~mask, ~mask)])
        residual = row[mask] - mean[mask] - gain @ (row - mean)[~mask]
        covariance = joint[np.ix_(mask, mask)] - gain @ joint[np.ix_(~mask, mask)]
        quadratic = residual @ np.linalg.solve(covariance, residual)
        log_prob = -0.5 * (quadratic + np.linalg.slogdet(2 * np.pi * covariance)[1])
        np.testing.assert_allclose(found.squared_error[index], np.mean(residual**2), rtol=1e-4)
        np.testing.assert_allclose(found.log_prob[index], log_prob / mask.sum(), rtol=1e-4)


def test_a_row_without_hidden_entries_is_one_line(generative, batch):
    x, missing = batch(3)
    missing = missing.at[1].set(False)
    imputations = impute(KEY, generative, x, missing)
    np.testing.assert_array_equal(imputations.mean[1], x[1])
    with pytest.raises(InputError, match=r"nothing is missing in x\[1\]"):
        measure(generative, imputations, x, missing)
