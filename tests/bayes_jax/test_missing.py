"""Distributions taken apart by masks, against conditioning of the joint by brute force."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from scipy.stats import multivariate_normal

from bayes_jax.errors import InputError
from bayes_jax.exact import linear_gaussian, mixture
from bayes_jax.exact.linear_gaussian import LinearGaussian
from bayes_jax.missing import check_missing, complete, condition
from bayes_jax.noise import independent_draws

DIM, NUM_DRAWS = 4, 20_000
MASKS = [(1, 3), (0, 1, 2, 3), (2,)]
X = np.array([0.3, -1.2, 0.8, 2.0])
RNG = np.random.default_rng(0)
LOADING = RNG.normal(size=(DIM, 2))
MEAN, VARIANCE = RNG.normal(size=DIM), RNG.uniform(0.05, 1, DIM)
LOCS = 2 * RNG.normal(size=(3, DIM))
TRILS = 0.5 * np.tril(RNG.normal(size=(3, DIM, DIM))) + np.eye(DIM)
VARIANCES = RNG.uniform(0.2, 1, (3, DIM))
WEIGHTS = np.array([0.5, 0.3, 0.2])


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


@jax.jit
def completed(completion, x, missing):
    """One trace for all masks."""
    return completion(x, missing)


@jax.jit
def draw(law):
    return independent_draws(jax.random.key(1), law, NUM_DRAWS)


@jax.jit
def log_probs(law, values):
    return jax.vmap(law.log_prob)(values)


def mask_of(missing) -> np.ndarray:
    return np.isin(np.arange(DIM), missing)


def hidden(mask) -> np.ndarray:
    return np.where(mask, np.nan, X)


def normal_given(loc, covariance, mask, x):
    """log p(x_observed), and mean and covariance of the missing entries, by Schur complement."""
    seen = ~mask
    gain = covariance[np.ix_(mask, seen)] @ np.linalg.inv(covariance[np.ix_(seen, seen)])
    log_prob = 0.0
    if seen.any():
        joint = multivariate_normal(loc[seen], covariance[np.ix_(seen, seen)])
        log_prob = joint.logpdf(x[seen])
    return (
        log_prob,
        loc[mask] + gain @ (x - loc)[seen],
        covariance[np.ix_(mask, mask)] - gain @ covariance[np.ix_(seen, mask)],
    )


def check_against(law, mask, mean, covariance, log_prob, value):
    """A `Completion` of X: mean, density of `value`, covariance of draws, observed entries."""
    np.testing.assert_allclose(law.mean[mask], mean, rtol=1e-9)
    np.testing.assert_allclose(log_probs(law, value[None])[0], log_prob, rtol=1e-9)
    draws, num = np.asarray(draw(law)), NUM_DRAWS
    np.testing.assert_array_equal(draws[:, ~mask], np.broadcast_to(X[~mask], (num, sum(~mask))))
    variance = np.diag(covariance)
    error = np.abs(draws[:, mask].mean(axis=0) - mean) / np.sqrt(variance / num)
    assert error.max() < 4
    # Var of a sample covariance of normals is (c_ii c_jj + c_ij^2) / num; mixtures have lighter
    # tails than that here.
    found = np.cov(draws[:, mask].T).reshape(covariance.shape)
    scale = np.sqrt((np.outer(variance, variance) + covariance**2) / num)
    assert np.max(np.abs(found - covariance) / scale) < 5


@pytest.mark.parametrize("missing", MASKS)
def test_linear_gaussian_completion_is_the_conditional_of_the_joint_normal(missing):
    mask, value = mask_of(missing), X + 0.5
    params = LinearGaussian(jnp.asarray(LOADING), jnp.asarray(MEAN), jnp.asarray(VARIANCE))
    joint = LOADING @ LOADING.T + np.diag(VARIANCE)
    _, mean, covariance = normal_given(MEAN, joint, mask, X)
    law = completed(linear_gaussian.generative(params).completion, hidden(mask), mask)
    log_prob = multivariate_normal(mean, covariance).logpdf(value[mask])
    check_against(law, mask, mean, covariance, log_prob, value)


@pytest.mark.parametrize("missing", MASKS)
@pytest.mark.parametrize("family", ["diagonal", "full"])
def test_gaussian_mixture_completion_is_brute_force_conditioning(family, missing):
    mask, value = mask_of(missing), X + 0.5
    log_weights = jnp.log(WEIGHTS)
    if family == "full":
        covariances = TRILS @ TRILS.swapaxes(1, 2)
        params = mixture.FullGaussianMixture(log_weights, jnp.asarray(LOCS), jnp.asarray(TRILS))
    else:
        covariances = np.stack([np.diag(variance) for variance in VARIANCES])
        params = mixture.DiagonalGaussianMixture(
            log_weights, jnp.asarray(LOCS), jnp.asarray(VARIANCES)
        )
    parts = [normal_given(*pair, mask, X) for pair in zip(LOCS, covariances, strict=True)]
    weights = WEIGHTS * np.exp([log_prob for log_prob, _, _ in parts])
    weights /= weights.sum()
    means = np.stack([mean for _, mean, _ in parts])
    mean = weights @ means
    covariance = sum(
        weight * (within + np.outer(part - mean, part - mean))
        for weight, part, (_, _, within) in zip(weights, means, parts, strict=True)
    )
    densities = [multivariate_normal(loc, within).pdf(value[mask]) for _, loc, within in parts]
    law = completed(mixture.generative(params).completion, hidden(mask), mask)
    check_against(law, mask, mean, covariance, np.log(weights @ densities), value)


@pytest.mark.parametrize("missing", MASKS)
def test_bernoulli_mixture_completion_is_enumeration(missing):
    mask, x = mask_of(missing), np.array([1.0, 0.0, 1.0, 1.0])
    params = mixture.BernoulliMixture(jnp.log(WEIGHTS), jnp.asarray(LOCS))
    completions = np.stack(np.meshgrid(*[[0.0, 1.0]] * DIM), axis=-1).reshape(-1, DIM)
    completions = completions[(completions[:, ~mask] == x[~mask]).all(axis=1)]
    on = 1 / (1 + np.exp(-LOCS))
    joint = [WEIGHTS @ np.prod(np.where(c == 1, on, 1 - on), axis=1) for c in completions]
    probs = np.array(joint) / sum(joint)
    law = completed(mixture.generative(params).completion, np.where(mask, np.nan, x), mask)
    np.testing.assert_allclose(log_probs(law, completions), np.log(probs), rtol=1e-9)
    np.testing.assert_allclose(law.mean, probs @ completions, rtol=1e-9)


def test_both_parts_of_a_likelihood_make_the_whole():
    """log p(x) = log p(x_observed) + log p(x_missing | x_observed), whatever the class."""
    mask = mask_of((1, 3))
    whole = {
        "independent": dist.Laplace(jnp.asarray(LOCS[0]), 0.7).to_event(1),
        "normal": dist.MultivariateNormal(jnp.asarray(MEAN), scale_tril=jnp.asarray(TRILS[1])),
    }
    for distribution in whole.values():
        parts = condition(distribution, X, mask).log_prob + complete(
            distribution, X, mask
        ).log_prob(X)
        np.testing.assert_allclose(parts, distribution.log_prob(X), rtol=1e-12)


@pytest.mark.parametrize(
    "distribution",
    [
        dist.MultivariateStudentT(4.0, np.zeros(2), np.eye(2)),
        dist.Normal(np.zeros((2, 2)), 1.0).to_event(2),
        dist.Dirichlet(np.ones((2, 2))).to_event(1),
    ],
)
def test_a_likelihood_without_parts_is_one_line(distribution):
    with pytest.raises(InputError, match=r"^the likelihood (is a|has event shape) .*expected"):
        condition(distribution, np.zeros(distribution.event_shape), np.zeros(2, bool))


@pytest.mark.parametrize(
    ("x", "missing", "message"),
    [
        (np.zeros(3), np.ones(3, bool), r"x has shape \(3,\): expected \[batch, dim\]"),
        (np.zeros((2, 3)), np.ones(3, bool), r"missing is bool of shape \(3,\): expected bool"),
        (np.zeros((2, 3)), np.ones((2, 3)), r"missing is float64 of shape \(2, 3\)"),
        (np.zeros((2, 3)), np.zeros((2, 3), bool), "nothing is missing"),
    ],
)
def test_masks_that_do_not_fit_are_one_line(x, missing, message):
    with pytest.raises(InputError, match=message):
        check_missing(x, missing)
