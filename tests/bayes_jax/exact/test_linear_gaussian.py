"""Against the full joint Gaussian built by brute force, and against scikit-learn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import multivariate_normal
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA, FactorAnalysis

from bayes_jax.errors import InputError
from bayes_jax.estimates import EvidenceKind
from bayes_jax.exact import linear_gaussian
from bayes_jax.exact.linear_gaussian import LinearGaussian, fit, fit_params
from bayes_jax.model import log_joint

DIM, LATENT = 6, 2


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


@pytest.fixture
def params() -> LinearGaussian:
    rng = np.random.default_rng(0)
    return LinearGaussian(
        jnp.asarray(rng.normal(size=(DIM, LATENT))),
        jnp.asarray(rng.normal(size=DIM)),
        jnp.asarray(rng.uniform(0.05, 1.0, size=DIM)),
    )


@pytest.fixture
def x(params) -> np.ndarray:
    rng = np.random.default_rng(1)
    z = rng.normal(size=(300, LATENT))
    noise = np.sqrt(params.variance) * rng.normal(size=(300, DIM))
    return z @ np.asarray(params.loading).T + np.asarray(params.mean) + noise


def joint_covariance(params) -> np.ndarray:
    """Covariance of (z, x), built in full."""
    loading = np.asarray(params.loading)
    marginal = loading @ loading.T + np.diag(params.variance)
    return np.block([[np.eye(LATENT), loading.T], [loading, marginal]])


def condition(covariance, mean, wanted, given, value):
    """Mean and covariance of the `wanted` block given the other, by Schur complement."""
    gain = covariance[np.ix_(wanted, given)] @ np.linalg.inv(covariance[np.ix_(given, given)])
    return (
        mean[wanted] + gain @ (value - mean[given]),
        covariance[np.ix_(wanted, wanted)] - gain @ covariance[np.ix_(given, wanted)],
    )


def em_step(params, x, min_variance):
    covariance = linear_gaussian._covariance(x)
    return linear_gaussian.em_step(
        params, lambda matrix: covariance @ matrix, jnp.diag(covariance), min_variance
    )


def mean_log_prob(params, x) -> float:
    model = linear_gaussian.generative(params)
    return float(jnp.mean(model.log_evidence(jax.random.key(0), jnp.asarray(x)).lower))


def test_evidence_equals_the_brute_force_normal(params, x):
    covariance = joint_covariance(params)[LATENT:, LATENT:]
    expected = multivariate_normal(params.mean, covariance).logpdf(x[:20])
    evidence = linear_gaussian.generative(params).log_evidence(jax.random.key(0), x[:20])
    np.testing.assert_allclose(evidence.lower, expected, rtol=1e-8)
    np.testing.assert_array_equal(evidence.lower, evidence.upper)
    assert evidence.kind == EvidenceKind.EXACT


def test_posterior_equals_conditioning_of_the_joint(params, x):
    mean = np.concatenate([np.zeros(LATENT), params.mean])
    latent, observed = np.arange(LATENT), np.arange(LATENT, LATENT + DIM)
    loc, covariance = condition(joint_covariance(params), mean, latent, observed, x[3])
    exact = jax.jit(linear_gaussian.generative(params).posterior)(x[3])
    np.testing.assert_allclose(exact.mean, loc, rtol=1e-8)
    np.testing.assert_allclose(exact.covariance_matrix, covariance, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("missing", [(1, 4), (0, 1, 2, 3, 4, 5), ()])
def test_conditional_equals_conditioning_of_the_joint(params, x, missing):
    mask = np.isin(np.arange(DIM), missing)
    mean = np.concatenate([np.zeros(LATENT), params.mean])
    given = LATENT + np.flatnonzero(~mask)
    wanted = np.concatenate([np.arange(LATENT), LATENT + np.flatnonzero(mask)])
    loc, covariance = condition(joint_covariance(params), mean, wanted, given, x[5][~mask])

    hidden = np.where(mask, np.nan, x[5])
    found = jax.jit(linear_gaussian.conditional)(params, hidden, jnp.asarray(mask))
    predictive = found.factor @ found.factor.T + jnp.diag(found.noise_variance)
    np.testing.assert_allclose(found.latent_mean, loc[:LATENT], rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(found.latent_covariance, covariance[:LATENT, :LATENT], rtol=1e-8)
    np.testing.assert_allclose(found.mean[mask], loc[LATENT:], rtol=1e-8)
    np.testing.assert_allclose(
        predictive[np.ix_(mask, mask)], covariance[LATENT:, LATENT:], rtol=1e-8
    )
    np.testing.assert_array_equal(found.mean[~mask], x[5][~mask])
    assert not np.any(predictive[~mask])


def test_ppca_log_likelihood_equals_scikit_learns(x):
    params = fit_params(x, latent_dim=LATENT)
    pca = PCA(LATENT).fit(x)
    # scikit-learn divides the covariance by num - 1, maximum likelihood by num.
    ratio = len(x) / (len(x) - 1)
    rescaled = LinearGaussian(params.loading * np.sqrt(ratio), params.mean, params.variance * ratio)
    np.testing.assert_allclose(mean_log_prob(rescaled, x), pca.score(x), rtol=1e-10)
    # At the maximum tr(C^-1 S) = dim, hence what the other normaliser loses.
    loss = DIM / 2 * (np.log(ratio) + 1 / ratio - 1)
    np.testing.assert_allclose(mean_log_prob(params, x) - pca.score(x), loss, rtol=1e-4)


def test_factor_analysis_reaches_scikit_learns_log_likelihood(x):
    reference = FactorAnalysis(LATENT, tol=1e-9, max_iter=10_000, svd_method="lapack").fit(x)
    model = fit(x, latent_dim=LATENT, noise="diagonal", tolerance=1e-12)
    found = float(jnp.mean(model.log_evidence(jax.random.key(0), x).lower))
    np.testing.assert_allclose(found, reference.score(x), rtol=1e-8)
    assert found > mean_log_prob(fit_params(x, latent_dim=LATENT), x)


@pytest.mark.parametrize("min_variance", [1e-6, 0.4])
def test_em_never_loses_likelihood(x, min_variance):
    x = jnp.asarray(x)
    start = LinearGaussian(jnp.ones((DIM, LATENT)).at[0, 1].set(-2.0), x.mean(0), jnp.ones(DIM))

    def step(params, _):
        params = em_step(params, x, min_variance)
        return params, linear_gaussian._batch_log_evidence(params, x).mean()

    params, values = jax.lax.scan(step, start, length=40)
    assert np.all(np.diff(values) > -1e-12)
    assert values[-1] - values[0] > 0.1
    assert jnp.all(params.variance >= min_variance)


def test_em_step_equals_the_moments_of_the_joint(params, x):
    """E step by conditioning the full joint; M step with z ~ N(0, R), R put back into W."""
    centred = x - x.mean(0)
    loading = np.asarray(params.loading)
    marginal = joint_covariance(params)[LATENT:, LATENT:]
    z = centred @ np.linalg.solve(marginal, loading)
    covariance = np.eye(LATENT) - loading.T @ np.linalg.solve(marginal, loading)
    second_moment = covariance + z.T @ z / len(x)
    new = np.linalg.solve(second_moment, z.T @ centred / len(x)).T
    unexplained = np.sum((centred - z @ new.T) ** 2, axis=0) / len(x)
    variance = unexplained + np.diag(new @ covariance @ new.T)

    found = jax.jit(em_step)(params, jnp.asarray(x), 0.0)
    np.testing.assert_allclose(found.variance, variance, rtol=1e-10)
    expected = new @ second_moment @ new.T
    np.testing.assert_allclose(found.loading @ found.loading.T, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("noise", ["isotropic", "diagonal"])
def test_variance_floor_holds_also_for_constant_pixels(x, noise):
    x = np.concatenate([x, np.zeros((len(x), 1))], axis=1)
    params = fit_params(x, latent_dim=LATENT, noise=noise, min_variance=0.5)
    assert jnp.all(params.variance >= 0.5)
    assert jnp.any(params.variance == 0.5)
    assert np.isfinite(mean_log_prob(params, x))


def test_loading_is_the_best_for_the_floor(x):
    floor = 1.0
    best = fit_params(x, latent_dim=LATENT, min_variance=floor)
    assert jnp.all(best.variance == floor)

    def value(loading):
        evidence = jax.vmap(linear_gaussian.log_evidence, (None, 0))
        return evidence(best._replace(loading=loading), jnp.asarray(x)).mean()

    np.testing.assert_allclose(jax.jit(jax.grad(value))(best.loading), 0, atol=1e-10)


def test_latent_model_obeys_bayes_theorem(params, x):
    model = linear_gaussian.generative(params)
    evidence = model.log_evidence(jax.random.key(0), x[:1]).lower[0]

    @jax.jit
    @jax.vmap
    def difference(z):
        return log_joint(model.latent, z, x[0]) - model.posterior(x[0]).log_prob(z)

    z = jax.random.normal(jax.random.key(0), (3, LATENT))
    np.testing.assert_allclose(difference(z), jnp.full(3, evidence), rtol=1e-10)


def test_small_noise_is_borne_in_single_precision():
    """Of PPCA on digits, where neither x nor params are made to fit; called outside of jit."""
    with jax.enable_x64(False):
        x = load_digits().data.astype(np.float32) / 17
        fitted = fit_params(x, latent_dim=16)
        params = fitted._replace(variance=jnp.full_like(fitted.variance, 0.05**2))
        found = [float(linear_gaussian.log_evidence(params, row)) for row in x[:3]]
        posterior = linear_gaussian.posterior(params, x[0])
    loading, mean, variance = (np.asarray(part, np.float64) for part in params)
    covariance = loading @ loading.T + np.diag(variance)
    expected = multivariate_normal(mean, covariance).logpdf(x[:3].astype(np.float64))
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    loc = loading.T @ np.linalg.solve(covariance, x[0] - mean)
    np.testing.assert_allclose(posterior.mean, loc, atol=1e-3)


def test_samples_have_the_moments_of_the_model(params):
    num = 20_000
    draws = np.asarray(linear_gaussian.generative(params).sample(jax.random.key(3), num))
    covariance = joint_covariance(params)[LATENT:, LATENT:]
    stderr = np.sqrt(np.diag(covariance) / num)
    assert np.all(np.abs(draws.mean(0) - params.mean) < 5 * stderr)
    spread = np.sqrt((covariance**2 + np.outer(np.diag(covariance), np.diag(covariance))) / num)
    assert np.all(np.abs(np.cov(draws.T) - covariance) < 5 * spread)


def test_one_compile_for_every_params(params, x):
    linear_gaussian.generative(params).log_evidence(jax.random.key(0), x)
    before = linear_gaussian._batch_log_evidence._cache_size()
    other = jax.tree.map(lambda leaf: leaf + 0.1, params)
    linear_gaussian.generative(other).log_evidence(jax.random.key(1), x + 1)
    assert linear_gaussian._batch_log_evidence._cache_size() == before


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"latent_dim": 6}, "latent_dim is 6"),
        ({"latent_dim": 0}, "latent_dim is 0"),
        ({"noise": "full"}, "noise is 'full'"),
        ({"min_variance": 0.0}, "min_variance is 0.0"),
        ({"num_iterations": 0}, "num_iterations is 0"),
    ],
)
def test_refuses_options_it_cannot_use(x, change, words):
    with pytest.raises(InputError, match=words):
        fit(x, **{"latent_dim": 2, **change})


def test_refuses_data_it_cannot_use(params, x):
    with pytest.raises(InputError, match=r"x\[7\] holds NaN"):
        fit(np.where(np.arange(len(x))[:, None] == 7, np.nan, x), latent_dim=2)
    with pytest.raises(InputError, match="1 observations"):
        fit(x[:1], latent_dim=2)
    with pytest.raises(InputError, match="shape"):
        linear_gaussian.generative(params).log_evidence(jax.random.key(0), x[:, :3])
