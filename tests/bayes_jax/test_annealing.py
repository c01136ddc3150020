"""Annealed weights are unbiased, the bound is a bound, and it is tight where the issue asks it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

from bayes_jax import EvidenceKind, InputError, annealed_draws, annealed_evidence
from bayes_jax.annealing import joint_basis, num_gradients, sigmoid_schedule


@pytest.mark.parametrize(
    ("name", "from_guide"),
    [
        ("poisson", False),
        ("mixture_prior", False),
        ("linear_gaussian", True),
        ("nonlinear_bernoulli", True),
    ],
)
def test_mean_weight_is_the_evidence(cases, name, from_guide):
    """E[w] = p(x) at 8 temperatures, where every weight counts: signs and normalisers show."""
    case, num_chains, row = cases(name), 8_000, 3
    guide = case.guide if from_guide else None
    draws = annealed_draws(
        jax.random.key(0),
        case.model,
        case.x[row : row + 1],
        guide=guide,
        num_chains=num_chains,
        num_temperatures=8,
    )
    relative = np.exp(np.asarray(draws.log_weight[0], np.float64) - float(case.log_evidence[row]))
    error = relative.std(ddof=1) / np.sqrt(num_chains)
    assert error < 0.05
    assert abs(relative.mean() - 1) < 4 * error
    weighted = np.asarray(draws.mean()[0], np.float64)
    scale = np.sqrt(np.diag(case.covariance[row]))
    assert np.all(np.abs(weighted - case.mean[row]) < 6 * scale * error + 0.02 * scale)


def test_prior_started_at_1000_temperatures_is_within_a_tenth_of_a_nat(case):
    evidence = annealed_evidence(
        jax.random.key(1), case.model, case.x, num_chains=16, num_temperatures=1000
    )
    check_bound(evidence, case.log_evidence, most=0.1)


def test_guide_started_at_100_temperatures_is_within_two_hundredths(case):
    evidence = annealed_evidence(
        jax.random.key(2), case.model, case.x, guide=case.guide, num_temperatures=100
    )
    check_bound(evidence, case.log_evidence, most=0.02)


def check_bound(evidence, exact, *, most):
    assert evidence.kind == EvidenceKind.LOWER
    assert bool(jnp.all(jnp.isposinf(evidence.upper)))
    error = np.asarray(evidence.lower - exact, np.float64)
    stderr = np.asarray(evidence.stderr_lower, np.float64)
    assert abs(error.mean()) < most
    assert error.mean() < 4 * np.sqrt((stderr**2).sum()) / len(stderr)
    assert abs(error.mean()) < 4 * np.sqrt((stderr**2).sum()) / len(stderr) + (stderr**2).mean()
    assert 0.6 < np.sqrt(np.mean((error / stderr) ** 2)) < 1.8


def test_mean_weight_is_the_evidence_over_paths_that_are_drawn_anew(linear_case):
    """Few chains on each of many paths: a path that looked at its chains would bias the mean."""
    x = jnp.tile(linear_case.x[:1], (6000, 1))
    draws = annealed_draws(
        jax.random.key(3), linear_case.model, x, num_chains=2, num_temperatures=8
    )
    relative = np.exp(np.asarray(draws.log_weight - linear_case.log_evidence[0], np.float64))
    per_path = relative.mean(axis=1)
    assert abs(per_path.mean() - 1) < 4 * per_path.std(ddof=1) / np.sqrt(len(per_path))


def test_schedule_rises_from_zero_to_one():
    betas = np.asarray(sigmoid_schedule(100))
    assert betas[0] == 0
    assert betas[-1] == 1
    assert len(betas) == 101
    steps = np.diff(betas)
    assert np.all(steps > 0)
    np.testing.assert_allclose(steps, steps[::-1], rtol=1e-3)
    assert steps[0] < 0.3 * steps[50]


def test_joint_basis_diagonalises_both():
    key_start, key_target = jax.random.split(jax.random.key(5))
    factors = [
        jnp.tril(jax.random.normal(key, (4, 4)), -1) + jnp.diag(jnp.arange(1.0, 5.0))
        for key in (key_start, key_target)
    ]
    basis, precision = joint_basis(*factors)
    inverse = jnp.linalg.inv(basis)
    np.testing.assert_allclose(
        inverse @ factors[0] @ factors[0].T @ inverse.T, np.eye(4), atol=1e-4
    )
    target = inverse @ factors[1] @ factors[1].T @ inverse.T
    np.testing.assert_allclose(target * precision, np.eye(4), atol=1e-3)


def test_joint_basis_keeps_precisions_of_one_beside_enormous_ones():
    """In float32 the eigenvalues of a product would turn negative and every move be rejected."""
    rotation = jnp.linalg.qr(jax.random.normal(jax.random.key(8), (8, 8)))[0]
    scales = jnp.where(jnp.arange(8) < 4, 1.0, 1e-4)
    upper = jnp.linalg.qr((rotation * scales).T)[1]  # target covariance is upperᵀ upper
    target = (upper * jnp.sign(jnp.diagonal(upper))[:, None]).T
    for factor in (jnp.diag(scales), target):
        precision = np.sort(np.asarray(joint_basis(jnp.eye(8), factor)[1]))
        assert np.all(precision > 0)
        np.testing.assert_allclose(precision[4:], 1e8, rtol=0.2)
    np.testing.assert_allclose(
        np.sort(np.asarray(joint_basis(jnp.eye(8), jnp.diag(scales))[1]))[:4], 1, rtol=0.02
    )


def test_batch_size_and_offset_change_nothing(linear_case):
    options = {"guide": linear_case.guide, "num_chains": 4, "num_temperatures": 10}
    key, model, x = jax.random.key(6), linear_case.model, linear_case.x[:12]
    whole = annealed_evidence(key, model, x, **options)
    tail = annealed_evidence(key, model, x[7:], index_offset=7, batch_size=3, **options)
    np.testing.assert_allclose(whole.lower[7:], tail.lower, atol=1e-3)
    assert len(np.unique(whole.lower)) == 12


def test_gradients_are_counted(linear_case):
    """The formula against gradients counted on the host."""
    calls = 0

    def count(_):
        nonlocal calls
        calls += 1

    def counted_likelihood(z):
        jax.debug.callback(count, z[0])
        return linear_case.model.likelihood(z)

    model = linear_case.model._replace(likelihood=Partial(counted_likelihood))
    draws = annealed_draws(
        jax.random.key(7), model, linear_case.x[:1], num_chains=3, num_temperatures=5
    )
    jax.block_until_ready(draws)
    jax.effects_barrier()
    support_check = 1
    expected = num_gradients(3, 5, prior_started=True)
    assert int(draws.num_grads[0]) == expected
    assert calls == expected + support_check


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_temperatures": 1}, "num_temperatures is 1"),
        ({"num_chains": 0}, "num_chains is 0"),
        ({"batch_size": 0}, "batch_size is 0"),
    ],
)
def test_wrong_counts_are_named(linear_case, options, message):
    with pytest.raises(InputError, match=message):
        annealed_evidence(jax.random.key(0), linear_case.model, linear_case.x, **options)


def test_observations_outside_the_support_are_refused(nonlinear_case):
    grey = nonlinear_case.x.at[5, 0].set(0.5)
    with pytest.raises(InputError, match=r"x\[5\] .*boolean"):
        annealed_evidence(jax.random.key(0), nonlinear_case.model, grey)
