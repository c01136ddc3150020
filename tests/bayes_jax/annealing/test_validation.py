"""Both sides of the evidence: weights of 1 / p(x) are unbiased, the truth lies between."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

from bayes_jax import (
    EvidenceKind,
    InputError,
    annealed_draws,
    evidence_sandwich,
    log_joint,
    reverse_evidence,
    simulate,
    validate_annealing,
)
from bayes_jax.annealing.validation import certify
from bayes_jax.estimates import Evidence
from bayes_jax.exact.reference import REFERENCES
from bayes_jax.importance import resample

# Those that are walked in the quick suite too.
QUICK = {
    ("linear_gaussian", False),
    ("mixture_prior", True),
    ("nonlinear_bernoulli", True),
    ("nonlinear_poisson", False),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "from_guide"),
    [
        pytest.param(*which, marks=() if which in QUICK else pytest.mark.long)
        for which in itertools.product(REFERENCES, (False, True))
    ],
)
def test_the_truth_lies_between(cases, name, from_guide):
    """Must hold: lower <= exact <= upper within 3 standard errors of the mean, the lower near."""
    case, most = cases(name), 0.02 if from_guide else 0.1
    num_temperatures = 100 if from_guide else 1000
    found = evidence_sandwich(
        jax.random.key(0),
        case.model,
        case.z,
        case.x,
        guide=case.guide if from_guide else None,
        num_temperatures=num_temperatures,
    )
    assert found.kind == EvidenceKind.SANDWICH
    assert np.all(np.isnan(found.stderr_upper))
    exact = np.asarray(case.log_evidence, np.float64)
    lower, upper = np.asarray(found.lower, np.float64), np.asarray(found.upper, np.float64)
    for below in (lower - exact, exact - upper):
        assert below.mean() < 3 * below.std(ddof=1) / np.sqrt(len(below))
    assert abs(np.mean(lower - exact)) < most
    # The chains' own errors are what they miss by: of |t| with 15 degrees of freedom the median is
    # 0.69. Its mean square would hang on the few x where one chain in hundreds finds a second mode.
    assert 0.45 < np.median(np.abs(lower - exact) / found.stderr_lower) < 1.1
    if case.name == "mixture_prior":
        # The modes are apart in the prior already, and no local move goes from one to another: the
        # walk back ends in the mode it began in. The bound holds, and is loose.
        assert from_guide or np.mean(upper - exact) > most
    else:
        assert abs(np.mean(upper - exact)) < most


def broad_guide(x):
    """Wide, and blind to x."""
    del x
    return dist.Normal(jnp.zeros(1), 1.3).to_event(1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("guide", "transition", "schedule"),
    [
        (None, "hmc", "sigmoid"),
        pytest.param(None, "hmc_bfloat16", "sigmoid", marks=pytest.mark.long),
        (broad_guide, "hmc", "adaptive"),
        pytest.param(None, "elliptical", "adaptive", marks=pytest.mark.long),
        (broad_guide, "elliptical", "sigmoid"),
    ],
)
def test_weights_back_and_forth_are_unbiased(guide, transition, schedule):
    """E[p^ / p] = 1 and E[p / p^] = 1 at 6 temperatures, where signs and normalisers show."""
    reference, num = REFERENCES["poisson"](), 3000
    z, x = simulate(jax.random.key(2), reference.model, num)
    x = x.astype(jnp.float32)
    found = evidence_sandwich(
        jax.random.key(3),
        reference.model,
        z,
        x,
        guide=guide,
        num_chains=2,
        num_temperatures=6,
        transition=transition,
        schedule=schedule,
    )
    exact = np.asarray(reference.log_evidence(x), np.float64)
    for log_ratio in (found.lower - exact, exact - found.upper):
        ratio = np.exp(np.asarray(log_ratio, np.float64))
        stderr = ratio.std(ddof=1) / np.sqrt(num)
        assert 0.001 < stderr < 0.1
        assert abs(ratio.mean() - 1) < 4 * stderr


@pytest.mark.slow
def test_width_and_certificate_cover_the_truth():
    """Fifty validations of few temperatures: the certificate holds, the interval is honest."""
    reference = REFERENCES["linear_gaussian"]()
    widths, stderrs, inside = [], [], []
    for key in jax.random.split(jax.random.key(4), 50):
        found = validate_annealing(
            key, reference.model, num_simulations=16, num_chains=2, num_temperatures=20
        )
        exact = float(jnp.mean(reference.log_evidence(found.x)))
        inside.append(found.certified[0] <= exact <= found.certified[1])
        widths.append(float(found.width))
        stderrs.append(float(found.width_stderr))
        low, high = found.width_interval
        assert low < found.width < high == found.kl_bound
        assert found.evidence.kind == EvidenceKind.SANDWICH
        assert len(found.z) == len(found.x) == len(found.evidence.lower) == 16
    assert np.mean(inside) > 0.9
    # What 50 runs spread is what each says of its own error: within 4 standard errors of the
    # logarithm of a standard deviation, 1 / sqrt(2 (50 - 1)).
    ratio = np.std(widths, ddof=1) / np.sqrt(np.mean(np.square(stderrs)))
    assert abs(np.log(ratio)) < 4 / np.sqrt(2 * 49)
    assert np.mean(widths) > 0


def test_certificate_by_hand():
    """Sides 0 or 2 nats apart on 40 x, 95 %: Markov's slack on each side is log(40) / 40."""
    lower = jnp.linspace(-3.0, -2.0, 40)
    upper = lower + jnp.tile(jnp.array([0.0, 2.0]), 20)
    sides = Evidence(lower, upper, 0 * lower, 0 * lower, EvidenceKind.SANDWICH)
    found = certify(sides, jnp.zeros((40, 1)), lower, confidence=0.95)
    assert float(found.width) == pytest.approx(1.0, abs=1e-6)
    # Two sides of a normal: 2.5 % lie beyond 1.960 standard errors.
    half = 1.95996 / np.sqrt(39)
    np.testing.assert_allclose(found.width_interval, [1 - half, 1 + half], rtol=1e-4)
    assert found.kl_bound == found.width_interval[1]
    slack = np.log(40) / 40
    np.testing.assert_allclose(found.certified, [-2.5 - slack, -1.5 + slack], rtol=1e-6)


@pytest.mark.long
def test_kl_of_resampled_draws_is_below_its_bound():
    """One dimension, few temperatures: the histogram of resampled draws against p(z | x)."""
    reference = REFERENCES["poisson"]()
    x = jnp.array([[2.0, 0.0, 1.0]])
    num_runs = 10_000
    draws = annealed_draws(
        jax.random.key(5),
        reference.model,
        jnp.tile(x, (num_runs, 1)),
        guide=broad_guide,
        num_chains=2,
        num_temperatures=3,
    )
    z = np.asarray(resample(jax.random.key(6), draws, num_draws=1))[:, 0, 0]
    loss = float(reference.log_evidence(x)[0]) - np.asarray(draws.evidence().lower, np.float64)
    edges = np.linspace(-4, 4, 33)
    log_joint_of = jax.vmap(lambda z: log_joint(reference.model, z[None], x[0]))
    fine = np.linspace(-4, 4, 32 * 50 + 1)
    density = np.exp(np.asarray(log_joint_of(jnp.asarray(fine)), np.float64))
    exact = np.add.reduceat(density[:-1], np.arange(0, 1600, 50))
    exact /= exact.sum()
    found = np.histogram(z, edges)[0] / num_runs
    # The divergence of binned laws is below that of the draws; few counts bias it upwards.
    kl = np.sum(np.where(found > 0, found * np.log(np.maximum(found, 1e-300) / exact), 0))
    bias = len(exact) / (2 * num_runs)
    bound, stderr = loss.mean(), loss.std(ddof=1) / np.sqrt(num_runs)
    assert kl - bias > 0.001  # there is a divergence to be bounded
    assert kl - bias < bound + 4 * stderr


@pytest.mark.long
def test_reverse_from_long_hmc_estimates(cases):
    case = cases("nonlinear_bernoulli")
    found = reverse_evidence(
        jax.random.key(7), case.model, case.x, guide=case.guide, num_chains=2, num_samples=100
    )
    assert np.all(np.isfinite(found.stderr_lower))
    assert found.kind == EvidenceKind.ESTIMATE
    np.testing.assert_array_equal(found.lower, found.upper)
    error = np.asarray(found.lower - case.log_evidence, np.float64)
    assert abs(error.mean()) < 4 * error.std(ddof=1) / np.sqrt(len(error)) + 0.005


@pytest.mark.slow
def test_sandwich_ignores_batch_size(linear_case):
    key, model, z, x = jax.random.key(8), linear_case.model, linear_case.z, linear_case.x
    options = {"guide": linear_case.guide, "num_chains": 2, "num_temperatures": 6}
    whole = evidence_sandwich(key, model, z[:9], x[:9], **options)
    tail = evidence_sandwich(key, model, z[5:9], x[5:9], batch_size=3, index_offset=5, **options)
    np.testing.assert_allclose(whole.lower[5:], tail.lower, atol=1e-3)
    np.testing.assert_allclose(whole.upper[5:], tail.upper, atol=1e-3)


def test_what_makes_no_sense_is_named(linear_case):
    key, model, x = jax.random.key(0), linear_case.model, linear_case.x
    with pytest.raises(InputError, match="num_simulations is 1: expected at least 2"):
        validate_annealing(key, model, num_simulations=1)
    with pytest.raises(InputError, match=r"confidence is 1.0: expected a probability"):
        validate_annealing(key, model, confidence=1.0)
    with pytest.raises(InputError, match="num_chains is 1: expected at least 2"):
        reverse_evidence(key, model, x, num_chains=1)
    bounded = model._replace(prior=dist.Exponential(jnp.ones(2)).to_event(1))
    with pytest.raises(InputError, match="has bounded support: expected one over all of R"):
        validate_annealing(key, bounded, num_simulations=4)
    with pytest.raises(InputError, match=r"leading axes of the data are \[3, 64\]"):
        evidence_sandwich(key, model, linear_case.z[:3], x)
