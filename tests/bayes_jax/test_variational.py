"""q* reaches the best of its family in closed form, and its ELBO stays below the evidence."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bayes_jax import EvidenceKind, InputError, elbo, fit_posterior
from bayes_jax.variational import sample_fitted

# One setting for all tests that fit the linear model, so that they share their compilation.
NUM_ELBO_SAMPLES = 2000
_FITS = {}


def fit_linear(case, family):
    if family not in _FITS:
        _FITS[family] = fit_posterior(
            jax.random.key(0),
            case.model,
            case.x,
            guide=case.guide,
            family=family,
            num_elbo_samples=NUM_ELBO_SAMPLES,
        )
    return _FITS[family]


def best_covariance(case, family):
    """Of the Gaussian of least KL(q || p): the posterior's, or 1 / its precisions."""
    if family == "full_rank":
        return np.asarray(case.covariance, np.float64)
    precision = np.linalg.inv(np.asarray(case.covariance, np.float64))
    return np.stack([np.diag(1 / np.diag(row)) for row in precision])


def divergences(case, loc, covariance):
    """KL(N(loc, covariance) || p(z | x)) in nats, of every observation."""
    precision = np.linalg.inv(np.asarray(case.covariance, np.float64))
    shift = np.asarray(loc, np.float64) - np.asarray(case.mean, np.float64)
    log_ratio = -np.linalg.slogdet(precision @ covariance)[1]
    trace = np.trace(precision @ covariance, axis1=1, axis2=2)
    distance = np.einsum("bi,bij,bj->b", shift, precision, shift)
    return 0.5 * (trace + distance - shift.shape[1] + log_ratio)


@pytest.mark.parametrize(("family", "most"), [("mean_field", 0.003), ("full_rank", 1e-4)])
def test_fit_is_the_closed_form_optimum(linear_case, family, most):
    """Location and covariance, as the divergence they lose over the best of the family.

    A diagonal q leaves noise in the path derivative, a full one none: hence the two tolerances.
    """
    fitted, best = fit_linear(linear_case, family), best_covariance(linear_case, family)
    found = divergences(linear_case, fitted.loc, np.asarray(fitted.covariance, np.float64))
    excess = found - divergences(linear_case, linear_case.mean, best)
    assert excess.min() > -1e-5
    assert excess.mean() < most
    assert excess.max() < 5 * most
    scale = np.sqrt(np.diagonal(best, axis1=1, axis2=2))
    relative = (np.asarray(fitted.covariance) - best) / (scale[:, :, None] * scale[:, None, :])
    assert np.max(np.abs(relative.mean(axis=0))) < 0.01


@pytest.mark.parametrize("family", ["mean_field", "full_rank"])
def test_elbo_of_the_fit_is_the_evidence_less_the_divergence(linear_case, family):
    """In the mean over observations to the Monte Carlo error, and never better than the optimum."""
    bound = fit_linear(linear_case, family).elbo()
    assert bound.kind == EvidenceKind.LOWER
    lost = np.asarray(linear_case.log_evidence - bound.lower, np.float64)
    error = np.asarray(bound.stderr_lower, np.float64)
    pooled = np.sqrt(np.sum(error**2)) / len(error)
    assert pooled < 0.002
    best = best_covariance(linear_case, family)
    excess = np.mean(lost - divergences(linear_case, linear_case.mean, best))
    assert -4 * pooled - 1e-4 < excess < 4 * pooled + 0.003


def test_elbo_stays_below_the_evidence(case):
    """From the prior, in few steps: better or worse fitted, a bound is a bound."""
    fitted = fit_posterior(
        jax.random.key(1), case.model, case.x[:16], num_steps=200, num_elbo_samples=500
    )
    bound = fitted.elbo()
    over = np.asarray(bound.lower - case.log_evidence[:16], np.float64)
    error = np.asarray(bound.stderr_lower, np.float64)
    assert np.all(over < 4.5 * error)
    assert over.mean() < 4 * np.sqrt(np.sum(error**2)) / len(error)
    # And the fit went somewhere: the mean is the posterior's within its scale where one mode is.
    if case.name != "mixture_prior":
        scale = np.sqrt(np.diagonal(case.covariance[:16], axis1=1, axis2=2))
        assert np.max(np.abs(fitted.loc - case.mean[:16]) / scale) < 0.5


def fit_shortly(case, x, **rows):
    return fit_posterior(
        jax.random.key(3),
        case.model,
        x,
        guide=case.guide,
        num_steps=10,
        num_elbo_samples=NUM_ELBO_SAMPLES,
        **rows,
    )


def test_few_steps_improve_the_guide(linear_case):
    before = elbo(
        jax.random.key(2),
        linear_case.model,
        linear_case.x,
        guide=linear_case.guide,
        num_samples=NUM_ELBO_SAMPLES,
    )
    after = fit_shortly(linear_case, linear_case.x).elbo()
    gain = np.asarray(after.lower - before.lower, np.float64)
    assert gain.mean() > 4 * gain.std(ddof=1) / np.sqrt(len(gain))
    assert np.mean(gain > 0) > 0.9


@pytest.mark.parametrize("family", ["mean_field", "full_rank"])
def test_draws_of_the_fit_have_its_moments(linear_case, family):
    fitted, num_samples = fit_linear(linear_case, family), 4000
    z = sample_fitted(jax.random.key(4), fitted, family=family, num_samples=num_samples)
    assert z.shape == (64, num_samples, 2)
    z = np.asarray(z, np.float64) - np.asarray(fitted.loc, np.float64)[:, None]
    products = np.concatenate([z, z[..., :1] * z, z[..., 1:] ** 2], axis=-1)
    covariance = np.asarray(fitted.covariance, np.float64)
    expected = np.stack([covariance[:, 0, 0], covariance[:, 0, 1], covariance[:, 1, 1]], axis=1)
    expected = np.concatenate([np.zeros((64, 2)), expected], axis=1)
    error = products.std(axis=1, ddof=1) / np.sqrt(num_samples)
    assert np.max(np.abs(products.mean(axis=1) - expected) / error) < 5


def test_batch_size_and_offset_change_nothing(linear_case):
    x = linear_case.x
    whole = fit_shortly(linear_case, x).log_weight
    tail = fit_shortly(linear_case, x[1:], index_offset=1, batch_size=20).log_weight
    np.testing.assert_allclose(whole[1:], tail, atol=2e-3)


def test_rows_get_different_noise(linear_case):
    same = jnp.broadcast_to(linear_case.x[:1], linear_case.x.shape)
    fitted = fit_shortly(linear_case, same)
    assert len(np.unique(fitted.loc[:, 0])) == 64
    assert len(np.unique(fitted.log_weight[:, 0])) == 64


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"family": "laplace"}, "family is 'laplace': expected one of mean_field, full_rank"),
        ({"num_steps": 0}, "num_steps is 0"),
        ({"num_samples": 0}, "num_samples is 0"),
        ({"num_elbo_samples": 1}, "num_elbo_samples is 1"),
        ({"batch_size": 0}, "batch_size is 0"),
    ],
)
def test_wrong_options_are_named(linear_case, options, words):
    unchecked = inspect.unwrap(fit_posterior)  # the test run's type check would come first
    with pytest.raises(InputError, match=words) as error:
        unchecked(jax.random.key(0), linear_case.model, linear_case.x, **options)
    assert "\n" not in str(error.value)
