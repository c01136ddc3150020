"""Both gaps are Kullback-Leibler divergences, which between Gaussians have closed forms."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from bayes_jax import Gaps, inference_gaps
from bayes_jax.estimates import exact_evidence, lower_evidence
from bayes_jax.gaps import decompose
from bayes_jax.variational import Anchor, FittedPosterior


class Divergences(NamedTuple):
    """KL(q* || p) and KL(q || p) - KL(q* || p) of a case's guide, `[batch]`."""

    approximation: np.ndarray
    amortization: np.ndarray


def divergences(case) -> Divergences:
    """For the best diagonal Gaussian q*: mean exact, variances 1 / diag(precision)."""
    mean = np.asarray(case.mean, np.float64)
    _, loc, scale = (np.asarray(table, np.float64) for table in case.guide.args[0])
    rows = [
        (
            diagonal_kl(mean[row], 1 / np.diag(np.linalg.inv(covariance)), mean[row], covariance),
            diagonal_kl(loc[row], scale[row] ** 2, mean[row], covariance),
        )
        for row, covariance in enumerate(np.asarray(case.covariance, np.float64))
    ]
    best, amortized = np.array(rows).T
    return Divergences(best, amortized - best)


def diagonal_kl(loc, variances, mean, covariance):
    """KL(N(loc, diag variances) || N(mean, covariance)) in nats."""
    precision = np.linalg.inv(covariance)
    shift = loc - mean
    log_ratio = np.linalg.slogdet(covariance)[1] - np.sum(np.log(variances))
    return 0.5 * (np.diag(precision) @ variances + shift @ precision @ shift - len(loc) + log_ratio)


def tiled(case, times=8):
    """The observations several times over, for a smaller error of the mean."""
    return jnp.tile(case.x, (times, 1)), jnp.tile(case.log_evidence, times)


def check_against_closed_form(gaps: Gaps, expected: Divergences):
    for name in ("approximation", "amortization"):
        error = np.asarray(getattr(gaps, f"stderr_{name}"), np.float64)
        # The mean's own error is a quarter of the tolerance at most.
        pooled = np.sqrt(np.sum(error**2)) / len(error)
        assert pooled < 0.01 / 4
        truth = getattr(expected, name)
        assert truth.mean() > 0.05
        found = np.asarray(getattr(gaps, name), np.float64).reshape(-1, len(truth))
        assert abs(found.mean() - truth.mean()) < 0.01
        # Observation by observation too, within its own error.
        standardised = (found - truth) / error.reshape(found.shape)
        assert np.max(np.abs(standardised)) < 5.5


def test_gaps_are_the_divergences(linear_case):
    """A guide that is shifted, too wide and diagonal, against the exact evidence."""
    x, log_evidence = tiled(linear_case)
    gaps = inference_gaps(
        jax.random.key(0),
        linear_case.model,
        x,
        guide=linear_case.guide,
        evidence=exact_evidence(log_evidence),
        num_samples=5000,
        num_steps=300,
    )
    check_against_closed_form(gaps, divergences(linear_case))
    np.testing.assert_array_equal(gaps.log_evidence, log_evidence)
    check_identity(gaps)


def test_gaps_with_annealed_evidence_are_the_divergences(linear_case):
    x, log_evidence = tiled(linear_case)
    gaps = inference_gaps(
        jax.random.key(1),
        linear_case.model,
        x,
        guide=linear_case.guide,
        num_samples=5000,
        num_steps=300,
        num_chains=64,
        num_temperatures=100,
    )
    check_against_closed_form(gaps, divergences(linear_case))
    assert abs(float(jnp.mean(gaps.log_evidence - log_evidence))) < 0.01
    check_identity(gaps)


def check_identity(gaps: Gaps):
    """log p - ELBO = approximation + amortization, whatever the noise."""
    whole = np.asarray(gaps.log_evidence - gaps.elbo, np.float64)
    np.testing.assert_allclose(gaps.approximation + gaps.amortization, whole, atol=1e-4)


def test_the_full_family_closes_the_approximation_gap(linear_case):
    expected = divergences(linear_case)
    gaps = inference_gaps(
        jax.random.key(2),
        linear_case.model,
        linear_case.x,
        guide=linear_case.guide,
        evidence=exact_evidence(linear_case.log_evidence),
        family="full_rank",
        num_samples=1000,
        num_steps=300,
    )
    assert abs(float(jnp.mean(gaps.approximation))) < 0.01
    whole = expected.approximation + expected.amortization
    assert abs(float(jnp.mean(gaps.amortization)) - whole.mean()) < 0.02


def test_parts_decompose_by_hand():
    fitted = FittedPosterior(
        params={},
        anchor=Anchor(jnp.zeros((2, 1)), jnp.ones((2, 1, 1))),
        log_weight=jnp.array([[-13.0, -11.0], [-20.0, -22.0]]),  # ELBO -12 +- 1, -21 +- 1
        loc=jnp.zeros((2, 1)),
        covariance=jnp.ones((2, 1, 1)),
    )
    evidence = lower_evidence(jnp.array([-10.0, -20.5]), jnp.array([0.75, 0.0]))
    amortized = lower_evidence(jnp.array([-16.0, -20.0]), jnp.array([2.0, 0.0]))
    gaps = decompose(evidence, amortized, fitted)
    np.testing.assert_allclose(gaps.log_evidence, [-10, -20.5])
    np.testing.assert_allclose(gaps.elbo, [-16, -20])
    np.testing.assert_allclose(gaps.elbo_optimal, [-12, -21])
    np.testing.assert_allclose(gaps.approximation, [2, 0.5])
    np.testing.assert_allclose(gaps.amortization, [4, -1])
    np.testing.assert_allclose(gaps.stderr_approximation, [1.25, 1])
    np.testing.assert_allclose(gaps.stderr_amortization, [np.sqrt(5), 1], rtol=1e-6)
    # The error of the optimal ELBO is in both gaps with opposite signs.
    np.testing.assert_allclose(gaps.stderr_total, [np.hypot(0.75, 2), 0], rtol=1e-6)
