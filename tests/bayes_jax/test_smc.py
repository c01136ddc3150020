"""Zhat is unbiased on a fixed ladder, near the evidence on any, and says which of the two it is."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bayes_jax import EvidenceKind, InputError, smc_evidence


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "from_guide"),
    [
        pytest.param("poisson", False, marks=pytest.mark.long),
        ("linear_gaussian", True),
    ],
)
def test_normaliser_of_few_particles_on_few_rungs_is_unbiased(cases, name, from_guide):
    """E[Zhat] = p(x), one run of 8 particles on each of many paths: a rung gone wrong shows."""
    case, num_replications, row = cases(name), 4000, 3
    evidence = smc_evidence(
        jax.random.key(0),
        case.model,
        jnp.tile(case.x[row : row + 1], (num_replications, 1)),
        guide=case.guide if from_guide else None,
        num_particles=8,
        num_temperatures=4,
        num_runs=1,
    )
    assert np.all(np.isnan(evidence.stderr_lower))
    relative = np.exp(np.asarray(evidence.lower - case.log_evidence[row], np.float64))
    error = relative.std(ddof=1) / np.sqrt(num_replications)
    assert error < 0.02
    assert abs(relative.mean() - 1) < 4 * error


@pytest.mark.parametrize(
    ("name", "from_guide", "most"),
    [
        pytest.param("mixture_prior", False, 0.1, marks=pytest.mark.long),
        ("nonlinear_bernoulli", True, 0.02),
    ],
)
def test_bound_is_tight(cases, name, from_guide, most):
    case = cases(name)
    evidence = smc_evidence(
        jax.random.key(1), case.model, case.x, guide=case.guide if from_guide else None
    )
    assert evidence.kind == EvidenceKind.LOWER
    assert bool(jnp.all(jnp.isposinf(evidence.upper)))
    check_mean(evidence, case.log_evidence, most=most)


def test_adaptive_ladder_gives_an_estimate(nonlinear_case):
    evidence = smc_evidence(
        jax.random.key(2), nonlinear_case.model, nonlinear_case.x, target_ess=0.8
    )
    assert evidence.kind == EvidenceKind.ESTIMATE
    np.testing.assert_array_equal(evidence.lower, evidence.upper)
    np.testing.assert_array_equal(evidence.stderr_lower, evidence.stderr_upper)
    check_mean(evidence, nonlinear_case.log_evidence, most=0.1)


def check_mean(evidence, exact, *, most):
    """The mean over observations against its standard error, and each against its own."""
    error = np.asarray(evidence.lower - exact, np.float64)
    stderr = np.asarray(evidence.stderr_lower, np.float64)
    mean_stderr = np.sqrt((stderr**2).sum()) / len(stderr)
    assert abs(error.mean()) < most
    # log Zhat lies below log p(x) by half its variance, on average.
    assert abs(error.mean() + 0.5 * (stderr**2).mean()) < 3 * mean_stderr
    # Pooled, the spread of four runs is known to 1 / sqrt(2 * 3 * 64), 5%; a root mean square error
    # of 64 to 9%, and more where the tails are heavy.
    assert 0.6 < np.sqrt((error**2).mean() / (stderr**2).mean()) < 1.6


@pytest.mark.slow
def test_batch_size_and_offset_change_nothing(linear_case):
    options = {"num_particles": 8, "num_temperatures": 5, "num_runs": 2, "num_moves": 2}
    key, model, x = jax.random.key(3), linear_case.model, linear_case.x[:12]
    whole = smc_evidence(key, model, x, guide=linear_case.guide, **options)
    tail = smc_evidence(
        key, model, x[6:], guide=linear_case.guide, index_offset=6, batch_size=3, **options
    )
    np.testing.assert_allclose(whole.lower[6:], tail.lower, atol=1e-3)
    assert len(np.unique(whole.lower)) == 12


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_particles": 0}, "num_particles is 0"),
        ({"num_temperatures": 0}, "num_temperatures is 0"),
        ({"num_moves": 0}, "num_moves is 0"),
        ({"num_runs": 0}, "num_runs is 0"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"target_ess": 0.0}, r"target_ess is 0\.0"),
        ({"target_ess": 1.0}, r"target_ess is 1\.0"),
        ({"target_ess": 0.5, "num_temperatures": 9}, r"num_temperatures is 9 and target_ess 0\.5"),
    ],
)
def test_options_that_make_no_sense_are_named(linear_case, options, message):
    with pytest.raises(InputError, match=message) as error:
        smc_evidence(jax.random.key(0), linear_case.model, linear_case.x, **options)
    assert "\n" not in str(error.value)


def test_observations_outside_the_support_are_refused(nonlinear_case):
    grey = nonlinear_case.x.at[5, 0].set(0.5)
    with pytest.raises(InputError, match=r"x\[5\] .*boolean"):
        smc_evidence(jax.random.key(0), nonlinear_case.model, grey)
