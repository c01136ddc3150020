"""Importance weights are those of the definition, and the bounds are ordered as they must be."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from bayes_jax import (
    EvidenceKind,
    InputError,
    elbo,
    importance_bound,
    importance_draws,
    pareto_k_hat,
)
from bayes_jax.importance import resample


def test_weights_are_joint_over_guide(linear_case):
    """Against scipy, from the definition: a sign or a normaliser gone wrong fails here."""
    draws = importance_draws(
        jax.random.key(0), linear_case.model, linear_case.x, guide=linear_case.guide, num_samples=3
    )
    for row in (0, 17):
        x = np.asarray(linear_case.x[row], np.float64)
        guide = linear_case.guide(linear_case.x[row]).base_dist
        for sample in range(3):
            z = np.asarray(draws.z[row, sample], np.float64)
            likelihood = linear_case.model.likelihood(jnp.asarray(z, jnp.float32)).base_dist
            expected = (
                stats.norm.logpdf(z).sum()
                + stats.norm.logpdf(x, likelihood.loc, likelihood.scale).sum()
                - stats.norm.logpdf(z, guide.loc, guide.scale).sum()
            )
            np.testing.assert_allclose(draws.log_weight[row, sample], expected, atol=2e-4)


def test_mean_weight_is_the_evidence(every_case):
    """E[w] = p(x): the relative error over all observations averages to zero."""
    case, num_samples = every_case, 4000
    draws = importance_draws(
        jax.random.key(1), case.model, case.x, guide=case.guide, num_samples=num_samples
    )
    relative = jnp.exp(draws.log_weight - case.log_evidence[:, None])
    error = jnp.std(relative, axis=1, ddof=1) / jnp.sqrt(num_samples)
    pooled = jnp.sqrt(jnp.sum(error**2)) / len(error)
    assert abs(float(jnp.mean(relative)) - 1) < 4 * float(pooled)


@pytest.mark.slow
def test_bound_rises_with_samples_and_stays_below(case):
    nats_below = []
    x, log_evidence = jnp.tile(case.x, (16, 1)), jnp.tile(case.log_evidence, 16)
    for num_samples in (1, 5, 50, 500):
        bound = importance_bound(
            jax.random.key(2), case.model, x, guide=case.guide, num_samples=num_samples
        )
        assert bound.kind == EvidenceKind.LOWER
        assert bool(jnp.all(jnp.isposinf(bound.upper)))
        nats_below.append(np.asarray(log_evidence - bound.lower, np.float64))
    errors = [values.std(ddof=1) / np.sqrt(len(values)) for values in nats_below]
    means = [values.mean() for values in nats_below]
    for index in range(3):
        error = np.hypot(errors[index], errors[index + 1])
        assert means[index + 1] < means[index] + 4 * error
    assert means[2] < means[0] - 3 * np.hypot(errors[0], errors[2])
    assert all(mean > -4 * error for mean, error in zip(means, errors, strict=True))
    assert means[3] < 0.05


def test_elbo_is_below_the_evidence_by_the_kl_divergence(linear_case):
    """KL(q || p(z | x)) between Gaussians in closed form."""
    num_samples = 2000
    bound = elbo(
        jax.random.key(3),
        linear_case.model,
        linear_case.x,
        guide=linear_case.guide,
        num_samples=num_samples,
    )
    divergence = jax.vmap(gaussian_kl)(
        linear_case.guide.args[0][1],
        jax.vmap(jnp.diag)(linear_case.guide.args[0][2] ** 2),
        linear_case.mean,
        linear_case.covariance,
    )
    standardised = (linear_case.log_evidence - bound.lower - divergence) / bound.stderr_lower
    assert float(jnp.max(jnp.abs(standardised))) < 4.5
    assert 0.7 < float(jnp.std(standardised)) < 1.3


def gaussian_kl(loc, covariance, other_loc, other_covariance):
    precision = jnp.linalg.inv(other_covariance)
    difference = other_loc - loc
    return 0.5 * (
        jnp.trace(precision @ covariance)
        + difference @ precision @ difference
        - len(loc)
        + jnp.linalg.slogdet(other_covariance)[1]
        - jnp.linalg.slogdet(covariance)[1]
    )


def test_resampled_draws_have_the_posterior_moments(linear_case):
    draws = importance_draws(
        jax.random.key(4),
        linear_case.model,
        linear_case.x,
        guide=linear_case.guide,
        num_samples=4000,
    )
    z = resample(jax.random.key(5), draws, num_draws=4000)
    scale = jnp.sqrt(jnp.diagonal(linear_case.covariance, axis1=-2, axis2=-1))
    for mean in (jnp.mean(z, axis=1), draws.mean()):
        error = (mean - linear_case.mean) / scale
        # Twice the variance of 4000 exact draws: once for the weights, once for resampling.
        assert float(jnp.sqrt(jnp.mean(error**2))) < 2 * np.sqrt(2 / 4000)


def test_k_hat_tells_a_narrow_guide(linear_case):
    table, loc, scale = linear_case.guide.args[0]
    narrow = type(linear_case.guide)(linear_case.guide.func, (table, loc, 0.3 * scale))
    k_hat = {}
    for name, guide in (("good", linear_case.guide), ("narrow", narrow)):
        draws = importance_draws(
            jax.random.key(6), linear_case.model, linear_case.x, guide=guide, num_samples=2000
        )
        k_hat[name] = pareto_k_hat(draws.log_weight)
    assert float(jnp.median(k_hat["good"])) < 0.5
    assert float(jnp.median(k_hat["narrow"])) > 0.7


def test_batch_size_and_offset_change_nothing(linear_case):
    options = {"guide": linear_case.guide, "num_samples": 7}
    key, model, x = jax.random.key(8), linear_case.model, linear_case.x
    whole = importance_bound(key, model, x, **options)
    split = importance_bound(key, model, x, batch_size=10, **options)
    tail = importance_bound(key, model, x[40:], index_offset=40, **options)
    np.testing.assert_allclose(whole.lower, split.lower, rtol=1e-5)
    np.testing.assert_allclose(whole.lower[40:], tail.lower, rtol=1e-5)


def test_resampling_depends_on_the_index_of_a_row(linear_case):
    draws = importance_draws(
        jax.random.key(4),
        linear_case.model,
        linear_case.x,
        guide=linear_case.guide,
        num_samples=50,
    )
    tail = jax.tree.map(lambda leaf: leaf[40:], draws)
    whole = resample(jax.random.key(5), draws, num_draws=20)
    np.testing.assert_array_equal(
        whole[40:], resample(jax.random.key(5), tail, num_draws=20, index_offset=40)
    )


def test_rows_get_different_noise(linear_case):
    same = jnp.broadcast_to(linear_case.x[:1], (8, linear_case.x.shape[1]))
    draws = importance_draws(
        jax.random.key(9), linear_case.model, same, guide=linear_case.guide, num_samples=2
    )
    assert len(np.unique(np.asarray(draws.z[:, :, 0]))) == 16


def test_wrong_counts_are_named(linear_case):
    with pytest.raises(InputError, match="num_samples is 0"):
        importance_bound(
            jax.random.key(0),
            linear_case.model,
            linear_case.x,
            guide=linear_case.guide,
            num_samples=0,
        )
    with pytest.raises(InputError, match="batch_size is 0"):
        importance_bound(
            jax.random.key(0),
            linear_case.model,
            linear_case.x,
            guide=linear_case.guide,
            batch_size=0,
        )
