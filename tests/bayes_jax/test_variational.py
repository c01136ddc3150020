"""q* reaches the best of its family in closed form, and its ELBO stays below the evidence."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from jax.tree_util import Partial

from bayes_jax import EvidenceKind, Family, InputError, LatentModel, elbo, fit_posterior, simulate
from bayes_jax.exact import quadrature
from bayes_jax.families import FAMILIES, make_flow
from bayes_jax.transports import AffineCoupling, initial_coupling
from bayes_jax.variational import guides_family, sample_fitted

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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_batch_size_does_not_say_when_an_observation_stops(linear_case):
    """Alone or beside others that go on for longer; a toss-up may be tipped by rounding."""
    x = linear_case.x[:20]
    options = {"guide": linear_case.guide, "num_steps": 500}
    whole = fit_posterior(jax.random.key(0), linear_case.model, x, **options)
    alone = fit_posterior(jax.random.key(0), linear_case.model, x, batch_size=1, **options)
    same = np.asarray(whole.num_steps == alone.num_steps)
    assert len(set(np.asarray(whole.num_steps)[same].tolist())) > 2
    assert same.mean() >= 0.9
    np.testing.assert_allclose(whole.log_weight[same], alone.log_weight[same], atol=5e-3)


def test_rows_get_different_noise(linear_case):
    same = jnp.broadcast_to(linear_case.x[:1], linear_case.x.shape)
    fitted = fit_shortly(linear_case, same)
    assert len(np.unique(fitted.loc[:, 0])) == 64
    assert len(np.unique(fitted.log_weight[:, 0])) == 64


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"family": "laplace"},
            "family is 'laplace': expected a Family or one of mean_field, full",
        ),
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


def test_early_stop_spends_less_and_loses_nothing(linear_case):
    """Mean loss against all the steps within its own error, and that below a report's error."""
    early = fit_linear(linear_case, "mean_field")
    full = fit_posterior(
        jax.random.key(0),
        linear_case.model,
        linear_case.x,
        guide=linear_case.guide,
        least_rise=None,
        num_elbo_samples=NUM_ELBO_SAMPLES,
    )
    assert np.all(np.asarray(full.num_steps) == 500)
    assert np.all(np.asarray(full.num_evaluations) == 500 * 8 + NUM_ELBO_SAMPLES)
    assert np.mean(early.num_steps) < 400
    assert np.mean(early.num_evaluations) < np.mean(full.num_evaluations)
    lost = np.asarray(full.elbo().lower - early.elbo().lower, np.float64)
    assert lost.mean() < np.mean(full.elbo().stderr_lower) / 2
    assert lost.max() < 4 * np.max(np.hypot(full.elbo().stderr_lower, early.elbo().stderr_lower))


def test_mean_field_starts_exactly_at_a_diagonal_guide(linear_case):
    start = fit_posterior(
        jax.random.key(0),
        linear_case.model,
        linear_case.x,
        guide=linear_case.guide,
        num_steps=1,
        learning_rate=0.0,
        num_elbo_samples=2,
    )
    _, loc, scale = linear_case.guide.args[0]
    np.testing.assert_allclose(start.loc, loc, rtol=1e-4, atol=1e-5)
    found = jnp.sqrt(jnp.diagonal(start.covariance, axis1=-2, axis2=-1))
    np.testing.assert_allclose(found, scale, rtol=1e-4)


def _own_init(key, start):
    del key
    return {"loc": start.base_dist.loc, "log_scale": jnp.log(start.base_dist.scale)}


def _own_constrain(params):
    return dist.Normal(params["loc"], jnp.exp(params["log_scale"])).to_event(1)


def test_a_family_of_ones_own_reaches_its_optimum(linear_case):
    """Diagonal Gaussians again, by other parameters, with moments of draws."""
    family = Family(_own_init, _own_constrain)
    fitted = fit_posterior(
        jax.random.key(0),
        linear_case.model,
        linear_case.x,
        guide=linear_case.guide,
        family=family,
        num_elbo_samples=NUM_ELBO_SAMPLES,
    )
    bound, best = fitted.elbo(), best_covariance(linear_case, "mean_field")
    expected = linear_case.log_evidence - divergences(linear_case, linear_case.mean, best)
    error = np.sqrt(np.sum(np.asarray(bound.stderr_lower, np.float64) ** 2)) / len(expected)
    assert abs(np.mean(bound.lower - expected)) < 4 * error + 0.003
    q_loc, q_scale = fitted.params["loc"], jnp.exp(fitted.params["log_scale"])
    assert np.max(np.abs(fitted.loc - q_loc) / q_scale) < 5 / np.sqrt(NUM_ELBO_SAMPLES)
    variance = np.diagonal(fitted.covariance, axis1=1, axis2=2)
    assert np.max(np.abs(variance / q_scale**2 - 1)) < 5 * np.sqrt(2 / NUM_ELBO_SAMPLES)


def _bend(noise, z):
    return dist.Normal(jnp.stack([z[1] + z[0] ** 2, 0.3 * z[0]]), noise).to_event(1)


def banana_case():
    """z_1 + z_0^2 is seen with little noise: half of a parabola is left of a round prior."""
    prior = dist.Normal(jnp.zeros(2), 1.0).to_event(1)
    model = LatentModel(prior, Partial(_bend, jnp.array([0.4, 1.0])))
    x = simulate(jax.random.key(5), model, 16)[1]
    return model, None, x, quadrature.log_evidence(model, x).lower


@pytest.mark.parametrize(
    "name", [pytest.param("nonlinear_bernoulli", marks=pytest.mark.long), "banana"]
)
def test_a_flow_bends_where_a_gaussian_cannot(cases, name):
    """Above the best Gaussian and below the exact evidence, both beyond and within the error."""
    if name == "banana":
        model, guide, x, log_evidence = banana_case()
    else:
        case = cases(name)
        model, guide, x, log_evidence = case.model, case.guide, case.x[:16], case.log_evidence[:16]
    bound = {}
    for family in ("full_rank", make_flow(num_layers=2)):
        fitted = fit_posterior(
            jax.random.key(6),
            model,
            x,
            guide=guide,
            family=family,
            num_steps=600,
            num_elbo_samples=NUM_ELBO_SAMPLES,
        )
        bound[family] = fitted.elbo()
    gaussian, flow = bound.values()
    gain = np.asarray(flow.lower - gaussian.lower, np.float64)
    error = np.hypot(flow.stderr_lower, gaussian.stderr_lower).astype(np.float64)
    assert gain.mean() > 4 * np.sqrt(np.sum(error**2)) / len(error)
    over = np.asarray(flow.lower - log_evidence, np.float64) / np.asarray(flow.stderr_lower)
    # Of 16 the largest of standard normals, once in 700 times.
    assert over.max() < 3.8
    assert np.sum(over) / np.sqrt(len(over)) < 3
    # The moments are those of its draws.
    z = sample_fitted(jax.random.key(7), fitted, family=family, num_samples=NUM_ELBO_SAMPLES)
    scale = np.asarray(jnp.std(z, axis=1))
    apart = np.abs(np.asarray(jnp.mean(z, axis=1)) - np.asarray(fitted.loc)) / scale
    assert apart.max() < 5 * np.sqrt(2 / NUM_ELBO_SAMPLES)


def _correlated(loc, x):
    return dist.MultivariateNormal(loc + 0.0 * x[:2], jnp.eye(2))


def _bent(weights, x):
    base = dist.Normal(jnp.zeros(2) + 0.0 * x[:2], 1.0).to_event(1)
    return dist.TransformedDistribution(base, [AffineCoupling(weights)])


def test_the_guides_own_family_is_found():
    x = jnp.zeros((3, 5))
    weights = initial_coupling(jax.random.key(0), 2, 4)
    assert guides_family(lambda x: dist.Normal(x[:2], 1.0).to_event(1), x) is FAMILIES["mean_field"]
    assert guides_family(Partial(_correlated, jnp.ones(2)), x) is FAMILIES["full_rank"]
    flow = guides_family(Partial(_bent, weights), x)
    start = _bent(weights, x[0])
    again = flow.constrain(flow.init(jax.random.key(1), start))
    z = jnp.array([0.3, -0.7])
    np.testing.assert_allclose(again.log_prob(z), start.log_prob(z), rtol=1e-4)
    with pytest.raises(InputError, match="is a MixtureSameFamily: expected a Gaussian or a flow"):
        guides_family(
            lambda x: dist.MixtureSameFamily(
                dist.Categorical(jnp.ones(2)), dist.Normal(jnp.zeros((2, 2)), 1.0).to_event(1)
            ),
            x,
        )


def test_a_flow_guide_is_refitted_map_and_base():
    """Its q* passes the best Gaussian and stays below the exact evidence."""
    model, _, x, log_evidence = banana_case()
    guide = Partial(_bent, initial_coupling(jax.random.key(0), 2, 8))
    options = {"num_steps": 600, "num_elbo_samples": NUM_ELBO_SAMPLES}
    own = fit_posterior(jax.random.key(1), model, x[:, :2], guide=guide, **options).elbo()
    gaussian = fit_posterior(
        jax.random.key(1), model, x[:, :2], guide=guide, family="full_rank", **options
    ).elbo()
    gain = np.asarray(own.lower - gaussian.lower, np.float64)
    error = np.hypot(own.stderr_lower, gaussian.stderr_lower).astype(np.float64)
    assert gain.mean() > 4 * np.sqrt(np.sum(error**2)) / len(error)
    over = np.asarray(own.lower - log_evidence, np.float64) / np.asarray(own.stderr_lower)
    assert over.max() < 3.8
