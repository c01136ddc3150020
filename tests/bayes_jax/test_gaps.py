"""Both gaps are Kullback-Leibler divergences, which between Gaussians have closed forms."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bayes_jax import Gaps, InputError, inference_gaps
from bayes_jax.annealing.validation import certify
from bayes_jax.estimates import (
    Evidence,
    EvidenceKind,
    estimated_evidence,
    exact_evidence,
    lower_evidence,
)
from bayes_jax.gaps import Limit, advice, decompose, generalization_gap
from bayes_jax.variational import FittedPosterior


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


@pytest.mark.slow
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


@pytest.mark.slow
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
        log_weight=jnp.array([[-13.0, -11.0], [-20.0, -22.0]]),  # ELBO -12 +- 1, -21 +- 1
        loc=jnp.zeros((2, 1)),
        covariance=jnp.ones((2, 1, 1)),
        num_steps=jnp.ones(2, int),
        num_evaluations=jnp.ones(2, int),
    )
    evidence = lower_evidence(jnp.array([-10.0, -20.5]), jnp.array([0.75, 0.0]))
    amortized = lower_evidence(jnp.array([-16.0, -20.0]), jnp.array([2.0, 0.0]))
    gaps = decompose(evidence, amortized, fitted)
    np.testing.assert_allclose(gaps.log_evidence, [-10, -20.5])
    np.testing.assert_allclose(gaps.elbo, [-16, -20])
    np.testing.assert_allclose(gaps.elbo_optimal, [-12, -21])
    np.testing.assert_allclose(gaps.approximation, [2, 0.5])
    np.testing.assert_allclose(gaps.amortization, [4, -1])
    np.testing.assert_allclose(gaps.stderr_log_evidence, [0.75, 0])
    np.testing.assert_allclose(gaps.stderr_elbo, [2, 0])
    np.testing.assert_allclose(gaps.stderr_elbo_optimal, [1, 1])
    np.testing.assert_allclose(gaps.stderr_approximation, [1.25, 1])
    np.testing.assert_allclose(gaps.stderr_amortization, [np.sqrt(5), 1], rtol=1e-6)
    # The error of the optimal ELBO is in both gaps with opposite signs.
    np.testing.assert_allclose(gaps.stderr_total, [np.hypot(0.75, 2), 0], rtol=1e-6)


def gaps_of(*, approximation, amortization, log_evidence=-90.0, width=0.0, spread=0.05):
    """Gaps of 50 observations with given means, spread as given."""
    noise = spread * np.linspace(-1, 1, 50)
    level = log_evidence + 20 * noise
    parts = {
        "log_evidence": level,
        "elbo": level - approximation - amortization,
        "elbo_optimal": level - approximation,
        "approximation": approximation + noise,
        "amortization": amortization - noise,
    }
    fields = {name: jnp.asarray(parts.get(name, 0 * noise)) for name in Gaps._fields}
    return Gaps(**fields | {"evidence_width": jnp.asarray(width)})


@pytest.mark.parametrize(
    ("gaps", "limit"),
    [
        ({"approximation": 2.0, "amortization": 0.5}, Limit.FAMILY),
        ({"approximation": 0.5, "amortization": 2.0}, Limit.ENCODER),
        ({"approximation": 0.02, "amortization": 0.03}, Limit.DECODER),
        # What the evidence leaves open could change the answer, or could not.
        ({"approximation": 0.5, "amortization": 2.0, "width": 1.0}, Limit.ENCODER),
        ({"approximation": 0.5, "amortization": 2.0, "width": 2.0}, Limit.LOOSE),
        ({"approximation": 0.02, "amortization": 0.03, "width": 0.2}, Limit.LOOSE),
        ({"approximation": 0.5, "amortization": 2.0, "width": np.nan}, Limit.UNMEASURED),
        ({"approximation": 2.0, "amortization": 0.5, "width": np.nan}, Limit.FAMILY),
        # A divergence below zero: the evidence is low, by more than its width.
        ({"approximation": -0.5, "amortization": 2.0}, Limit.LOOSE),
        ({"approximation": -0.5, "amortization": 0.03, "width": 0.2}, Limit.LOOSE),
        ({"approximation": -0.5, "amortization": 2.0, "width": np.nan}, Limit.LOOSE),
        ({"approximation": -0.5, "amortization": 2.0, "width": 1.0}, Limit.ENCODER),
        ({"approximation": -0.3, "amortization": 5.0, "spread": 3.0}, Limit.ENCODER),
        # The difference of the parts has twice the noise of either here.
        ({"approximation": 2.0, "amortization": 1.86, "spread": 0.5}, Limit.NOISY),
        ({"approximation": 1.86, "amortization": 2.0, "spread": 0.5}, Limit.NOISY),
        ({"approximation": 2.0, "amortization": 1.8, "spread": 0.5}, Limit.FAMILY),
        # Large, and lost in the noise, whichever it is.
        ({"approximation": 0.0, "amortization": 0.4, "spread": 3.0}, Limit.NOISY),
        ({"approximation": 0.4, "amortization": 0.0, "spread": 3.0}, Limit.NOISY),
    ],
)
def test_advice_names_what_costs_most(gaps, limit):
    assert advice(gaps_of(**gaps)).limit == limit


def test_advice_says_by_how_much_the_evidence_is_low_at_least():
    gaps = gaps_of(approximation=-0.5, amortization=2.0, width=0.2)
    value, stderr = advice(gaps).cost
    assert float(value) == pytest.approx(0.5, abs=1e-5)
    spread = float(np.std(gaps.approximation, ddof=1))
    assert float(stderr) == pytest.approx(spread / 50**0.5, rel=1e-4)


@pytest.mark.parametrize("part", ["approximation", "amortization"])
def test_advice_says_nothing_of_what_is_no_number(part):
    gaps = gaps_of(approximation=0.02, amortization=0.03)
    broken = gaps._replace(**{part: getattr(gaps, part).at[7].set(jnp.nan)})
    assert advice(broken).limit == Limit.BROKEN
    assert advice(gaps, train=gaps._replace(log_evidence=jnp.nan * gaps.elbo)).limit == Limit.BROKEN


def test_errors_ask_for_two_observations_and_two_chains(linear_case):
    one = jax.tree.map(
        lambda leaf: leaf[:1],
        gaps_of(approximation=1.0, amortization=0.1)._asdict() | {"evidence_width": jnp.zeros(1)},
    )
    with pytest.raises(InputError, match="gaps are of 1 observation: expected at least 2"):
        advice(Gaps(**one))
    with pytest.raises(InputError, match="num_chains is 1: expected at least 2"):
        inference_gaps(
            jax.random.key(0),
            linear_case.model,
            linear_case.x,
            guide=linear_case.guide,
            num_chains=1,
        )


def test_advice_sees_a_decoder_that_overfits():
    test = gaps_of(approximation=0.5, amortization=1.0)
    train = gaps_of(approximation=0.5, amortization=0.6, log_evidence=-85.0)
    difference = generalization_gap(train, test)
    assert float(difference.log_evidence.value) == pytest.approx(5.0, abs=1e-4)
    assert float(difference.amortization.value) == pytest.approx(-0.4, abs=1e-5)
    assert float(difference.elbo.value) == pytest.approx(5.4, abs=1e-4)
    found = advice(test, train=train)
    assert found.limit == Limit.OVERFITTING
    assert float(found.cost.value) == pytest.approx(5.0, abs=1e-4)
    assert advice(test, train=test).limit == Limit.ENCODER
    # Few images of which the training ones are easier by chance say nothing of it.
    noisy = train._replace(log_evidence=train.log_evidence + 80 * jnp.linspace(-1, 1, 50) ** 3)
    assert float(generalization_gap(noisy, test).log_evidence.value) > 4
    assert advice(test, train=noisy).limit == Limit.ENCODER


def test_the_width_of_the_sandwich_is_the_error_bar_of_the_evidence(linear_case):
    level = linear_case.log_evidence[:3]
    zero = jnp.zeros(3)
    fitted = FittedPosterior(**dict.fromkeys(FittedPosterior._fields, zero))
    fitted = fitted._replace(log_weight=jnp.zeros((3, 4)))
    elbo = lower_evidence(level - 1, zero)
    width = jnp.array([0.1, 0.2, 0.3])
    sides = Evidence(level, level + width, zero, zero, EvidenceKind.SANDWICH)
    validation = certify(sides, jnp.zeros((3, 1)), linear_case.x[:3], confidence=0.9)

    def found(evidence, validation=None):
        return float(decompose(evidence, elbo, fitted, validation=validation).evidence_width)

    assert found(exact_evidence(level)) == 0
    assert np.isnan(found(lower_evidence(level, zero)))
    assert found(sides) == pytest.approx(0.2 + 2 * 0.1 / np.sqrt(3), rel=1e-4)
    expected = 0.2 + 1.6448536 * 0.1 / np.sqrt(3)
    assert found(lower_evidence(level, zero), validation) == pytest.approx(expected, rel=1e-4)
    # Sides that noise put the wrong way round leave open what that noise may have hidden.
    crossed = sides._replace(upper=level - width)
    assert found(crossed) == pytest.approx(2 * 0.1 / np.sqrt(3), rel=1e-4)
    crossed = certify(crossed, jnp.zeros((3, 1)), linear_case.x[:3], confidence=0.9)
    expected -= 0.2
    assert found(lower_evidence(level, zero), crossed) == pytest.approx(expected, rel=1e-4)


def test_an_estimate_is_no_evidence_for_gaps(linear_case):
    """It may lie above log p(x), and no width of annealing says how far."""
    zero = jnp.zeros(3)
    estimate = estimated_evidence(linear_case.log_evidence[:3], zero)
    fitted = FittedPosterior(**dict.fromkeys(FittedPosterior._fields, zero))
    with pytest.raises(InputError, match="the evidence is of kind ESTIMATE, which may lie above"):
        decompose(estimate, lower_evidence(zero, zero), fitted)
    with pytest.raises(InputError, match="expected EXACT, LOWER or SANDWICH"):
        inference_gaps(
            jax.random.key(0),
            linear_case.model,
            linear_case.x[:3],
            guide=linear_case.guide,
            evidence=estimate,
        )
