"""Log-mean-exp against float64 NumPy, its standard error against a replication study."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bayes_jax.estimates import (
    EvidenceKind,
    WeightedDraws,
    estimated_evidence,
    exact_evidence,
    log_mean_exp,
    log_mean_exp_stderr,
    lower_evidence,
    mean_stderr,
)

KEY = jax.random.key(0)


@pytest.mark.parametrize("offset", [0.0, -1000.0, 1000.0])
def test_log_mean_exp_equals_numpys_in_float64(offset):
    log_weights = np.asarray(3 * jax.random.normal(KEY, (4, 50)), np.float64)
    expected = np.log(np.mean(np.exp(log_weights), axis=-1)) + offset
    found = log_mean_exp(jnp.asarray(log_weights + offset, jnp.float32))
    rounding = np.spacing(np.float32(max(abs(offset), 8.0)))
    np.testing.assert_allclose(found, expected, atol=4 * rounding)


def test_log_mean_exp_of_impossible_and_of_single_samples():
    log_weights = jnp.array([[-jnp.inf, 0.0], [-jnp.inf, -jnp.inf]])
    np.testing.assert_allclose(log_mean_exp(log_weights), [-np.log(2), -np.inf], rtol=1e-6)
    np.testing.assert_array_equal(log_mean_exp(jnp.array([[3.0]])), [3.0])


@pytest.mark.parametrize("num_samples", [50, 400])
def test_stderr_is_the_spread_over_replications(num_samples):
    """Log-normal weights: the delta method's error is 1/K, far below the tolerance."""
    num_replications, scale = 20_000, 0.5
    log_weights = -700 + scale * jax.random.normal(KEY, (num_replications, num_samples))
    spread = float(jnp.std(log_mean_exp(log_weights), ddof=1))
    stated = log_mean_exp_stderr(log_weights)
    root_mean_square = float(jnp.sqrt(jnp.mean(stated**2)))
    # A standard deviation from R replications is known to 1 / sqrt(2 R) of itself.
    tolerance = 5 / np.sqrt(2 * num_replications) + 1 / num_samples
    assert abs(root_mean_square / spread - 1) < tolerance
    # And it is the one of the definition: sd(w) / (mean(w) sqrt(K)).
    closed_form = np.sqrt((np.exp(scale**2) - 1) / num_samples)
    assert abs(root_mean_square / closed_form - 1) < tolerance


def test_stderr_equals_the_definition():
    weights = np.asarray(jax.random.uniform(KEY, (3, 20)), np.float64)
    expected = weights.std(-1, ddof=1) / weights.mean(-1) / np.sqrt(20)
    found = log_mean_exp_stderr(jnp.log(jnp.asarray(weights, jnp.float32)) + 500)
    np.testing.assert_allclose(found, expected, rtol=2e-4)
    np.testing.assert_allclose(
        mean_stderr(jnp.asarray(weights, jnp.float32)),
        weights.std(-1, ddof=1) / np.sqrt(20),
        rtol=1e-5,
    )


@pytest.mark.parametrize("stderr", [log_mean_exp_stderr, mean_stderr])
def test_one_sample_has_no_known_spread(stderr):
    found = stderr(jnp.zeros((3, 1)))
    assert found.shape == (3,)
    assert np.all(np.isnan(found))


def test_kinds_say_what_is_claimed():
    value, stderr = jnp.array([-1.0, -2.0]), jnp.array([0.1, 0.2])
    exact = exact_evidence(value)
    assert exact.kind == EvidenceKind.EXACT
    np.testing.assert_array_equal(exact.lower, exact.upper)
    np.testing.assert_array_equal(exact.stderr_upper, 0)
    estimated = estimated_evidence(value, stderr)
    assert estimated.kind == EvidenceKind.ESTIMATE
    np.testing.assert_array_equal(estimated.lower, estimated.upper)
    np.testing.assert_array_equal(estimated.stderr_lower, stderr)
    np.testing.assert_array_equal(estimated.stderr_upper, stderr)
    lower = lower_evidence(value, stderr)
    assert lower.kind == EvidenceKind.LOWER
    assert np.all(np.isposinf(lower.upper))
    np.testing.assert_array_equal(lower.stderr_lower, stderr)
    assert np.all(np.isnan(lower.stderr_upper))


def test_weighted_draws_by_hand():
    draws = WeightedDraws(
        z=jnp.array([[[1.0, 0.0], [4.0, 3.0]]]),
        log_weight=jnp.log(jnp.array([[1.0, 3.0]])),
        num_grads=jnp.array([2]),
    )
    np.testing.assert_allclose(draws.mean(), [[(1 + 12) / 4, 9 / 4]], rtol=1e-6)
    np.testing.assert_allclose(draws.evidence().lower, [np.log(2)], rtol=1e-6)
    np.testing.assert_allclose(
        draws.evidence().stderr_lower, [np.sqrt(2) / 2 / np.sqrt(2)], rtol=1e-6
    )
    np.testing.assert_allclose(draws.elbo().lower, [np.log(3) / 2], rtol=1e-6)
    assert draws.elbo().lower < draws.evidence().lower
