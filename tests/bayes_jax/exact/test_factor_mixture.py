"""Against full covariances and conditioning of the joint Gaussians, both by brute force."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import logsumexp, softmax
from scipy.stats import multivariate_normal

from bayes_jax.errors import InputError
from bayes_jax.estimates import EvidenceKind, log_mean_exp, log_mean_exp_stderr
from bayes_jax.exact import factor_mixture, linear_gaussian, mixture
from bayes_jax.exact.factor_mixture import FactorMixture, fit_params
from bayes_jax.exact.mixture_em import em_step
from bayes_jax.model import log_joint
from vae_jax.configs import DataConfig
from vae_jax.data.arrays import load

KEY = jax.random.key(0)
DIM, LATENT, COMPONENTS, NUM = 5, 2, 3, 300


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


@pytest.fixture
def params() -> FactorMixture:
    """Three components that overlap."""
    rng = np.random.default_rng(0)
    return FactorMixture(
        jnp.log(jnp.array([0.5, 0.3, 0.2])),
        jnp.asarray(rng.normal(size=(COMPONENTS, DIM, LATENT))),
        jnp.asarray(rng.normal(size=(COMPONENTS, DIM))),
        jnp.asarray(rng.uniform(0.05, 1.0, size=(COMPONENTS, DIM))),
    )


@pytest.fixture
def x(params) -> np.ndarray:
    return brute_force_draws(params, NUM, seed=1)


def brute_force_components(params):
    """N(mean_k, W_k W_k' + diag(variance_k)), in full."""
    _, loading, mean, variance = map(np.asarray, params)
    return [
        multivariate_normal(m, w @ w.T + np.diag(v))
        for w, m, v in zip(loading, mean, variance, strict=True)
    ]


def brute_force_draws(params, num, *, seed) -> np.ndarray:
    rng = np.random.default_rng(seed)
    components = brute_force_components(params)
    counts = rng.multinomial(num, np.exp(params.log_weights))
    draws = [
        one.rvs(count, random_state=rng) for one, count in zip(components, counts, strict=True)
    ]
    return np.concatenate(draws)


def brute_force_log_joint(params, x) -> np.ndarray:
    """log p(k) p(x | k), `[num, component]`."""
    columns = [np.atleast_1d(component.logpdf(x)) for component in brute_force_components(params)]
    return np.stack(columns, axis=1) + np.asarray(params.log_weights)


def brute_force_weights(params, x) -> np.ndarray:
    """p(k | x), `[num, component]`."""
    return softmax(brute_force_log_joint(params, x), axis=1)


def brute_force_latents(params, x):
    """Means and covariances of p(z | x, k) for one x, from the joint covariance of (z, x)."""
    for component, loading in zip(
        brute_force_components(params), np.asarray(params.loading), strict=True
    ):
        gain = loading.T @ np.linalg.inv(component.cov)
        yield gain @ (x - component.mean), np.eye(LATENT) - gain @ loading


def evidence_of(params, x) -> np.ndarray:
    return np.asarray(factor_mixture.generative(params).log_evidence(KEY, jnp.asarray(x)).lower)


def stderr(values):
    return np.std(values, axis=0, ddof=1) / np.sqrt(len(values))


# --- the model -----------------------------------------------------------------------------------


def test_evidence_equals_that_of_full_covariances(params, x):
    expected = logsumexp(brute_force_log_joint(params, x[:20]), axis=1)
    evidence = factor_mixture.generative(params).log_evidence(KEY, x[:20])
    np.testing.assert_allclose(evidence.lower, expected, rtol=1e-10)
    assert evidence.kind == EvidenceKind.EXACT
    one = jax.jit(factor_mixture.log_evidence)(params, x[3])
    np.testing.assert_allclose(one, expected[3], rtol=1e-10)


def test_density_integrates_to_one(params):
    """By importance sampling from a wider normal."""
    wide = multivariate_normal(np.zeros(DIM), 6 * np.eye(DIM))
    points = wide.rvs(50_000, random_state=2)
    log_weight = jnp.asarray(evidence_of(params, points) - wide.logpdf(points))
    assert abs(log_mean_exp(log_weight)) < 4 * log_mean_exp_stderr(log_weight) < 0.1


def test_posterior_equals_conditioning_of_the_joints(params, x):
    exact = jax.jit(factor_mixture.generative(params).posterior)(x[7])
    (weights,) = brute_force_weights(params, x[7:8])
    np.testing.assert_allclose(exact.mixing_distribution.probs, weights, rtol=1e-10)
    z = np.array([0.3, -0.4])
    log_probs = exact.component_log_probs(z)
    for k, (loc, covariance) in enumerate(brute_force_latents(params, x[7])):
        found = exact.component_distribution
        np.testing.assert_allclose(found.mean[k], loc, rtol=1e-9)
        np.testing.assert_allclose(found.covariance_matrix[k], covariance, rtol=1e-9)
        expected = np.log(weights[k]) + multivariate_normal(loc, covariance).logpdf(z)
        np.testing.assert_allclose(log_probs[k], expected, rtol=1e-9)


def test_draws_of_component_and_latent_have_the_moments_of_the_joints(params, x):
    num, each = 40_000, brute_force_weights(params, x)
    row = np.argmax(each.min(axis=1))  # where every component is seen
    weights = each[row]
    assert weights.min() > 0.05
    exact = jax.jit(factor_mixture.posterior)(params, x[row])
    z, [k] = exact.sample_with_intermediates(KEY, (num,))
    shares = np.bincount(k, minlength=COMPONENTS) / num
    assert np.all(np.abs(shares - weights) < 4 * np.sqrt(weights * (1 - weights) / num))
    for component, (loc, covariance) in enumerate(brute_force_latents(params, x[row])):
        of_component = np.asarray(z)[np.asarray(k) == component]
        assert np.all(np.abs(of_component.mean(0) - loc) < 4 * stderr(of_component))
        squares = np.einsum("ni,nj->nij", of_component - loc, of_component - loc)
        assert np.all(np.abs(squares.mean(0) - covariance) < 4 * stderr(squares))


def test_latent_model_obeys_bayes_theorem(params, x):
    model = factor_mixture.generative(params)
    evidence = evidence_of(params, x[:1])[0]

    @jax.jit
    @jax.vmap
    def difference(z):
        return log_joint(model.latent, z, x[0]) - model.posterior(x[0]).log_prob(z)

    found = difference(jax.random.normal(KEY, (3, LATENT)))
    np.testing.assert_allclose(found, np.full(3, evidence), rtol=1e-10)


def test_samples_are_those_of_full_covariances(params):
    """Their moments, and their mean log p(x)."""
    num = 20_000
    draws = np.asarray(factor_mixture.generative(params).sample(jax.random.key(3), num))
    expected = brute_force_draws(params, num, seed=4)
    for statistic in (
        lambda x: x,
        lambda x: np.einsum("ni,nj->nij", x, x),
        lambda x: logsumexp(brute_force_log_joint(params, x), axis=1),
    ):
        found, wanted = statistic(draws), statistic(expected)
        error = np.hypot(stderr(found), stderr(wanted))
        assert np.all(np.abs(found.mean(0) - wanted.mean(0)) < 5 * error)


@pytest.mark.parametrize("num_missing", [1, DIM - 1, DIM])
def test_completion_is_conditioning_of_the_joints(params, x, num_missing):
    """p(x) / p(x_observed), both by components in full, at points that agree where observed."""
    missing = np.arange(DIM) < num_missing
    seen = ~missing
    hidden = jnp.where(missing, jnp.nan, x[0])
    law = jax.jit(factor_mixture.completion)(params, hidden, jnp.asarray(missing))
    points = np.where(missing, x[:20], x[0])
    log_seen = np.asarray(params.log_weights)
    if num_missing < DIM:
        log_seen = log_seen + [
            multivariate_normal(each.mean[seen], each.cov[np.ix_(seen, seen)]).logpdf(x[0][seen])
            for each in brute_force_components(params)
        ]
    expected = logsumexp(brute_force_log_joint(params, points), axis=1) - logsumexp(log_seen)
    found = jax.vmap(law.log_prob)(jnp.asarray(points))
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    draws = law.sample(jax.random.key(0), (50,))
    np.testing.assert_array_equal(draws[:, seen], np.broadcast_to(x[0][seen], (50, seen.sum())))


def test_without_loadings_it_is_the_diagonal_mixture(params, x):
    bare = params._replace(loading=jnp.zeros_like(params.loading))
    diagonal = mixture.DiagonalGaussianMixture(params.log_weights, params.mean, params.variance)
    expected = mixture.generative(diagonal).log_evidence(KEY, x).lower
    np.testing.assert_allclose(evidence_of(bare, x), expected, rtol=1e-12)


# --- the fit -------------------------------------------------------------------------------------


def test_em_never_loses_likelihood(params, x):
    """From params that did not make the data, with a floor that some variances meet."""
    floor = 0.1
    start = params._replace(mean=params.mean[::-1] + 1.0, variance=jnp.ones_like(params.variance))

    @jax.jit
    def climb(start, x):
        step = lambda params, _: em_step(params, x, floor)  # noqa: E731
        return jax.lax.scan(step, start, length=60)

    end, values = climb(start, jnp.asarray(x))
    assert np.all(np.diff(values) > -1e-12)
    assert values[-1] - values[0] > 0.1
    assert jnp.all(end.variance >= floor)
    assert jnp.any(end.variance == floor)


def test_one_component_is_factor_analysis(x):
    options = {"latent_dim": LATENT, "num_iterations": 10_000, "tolerance": 1e-8}
    found = fit_params(KEY, x, num_components=1, **options)
    expected = linear_gaussian.fit(x, noise="diagonal", **options)
    best = np.mean(expected.log_evidence(KEY, x).lower)
    np.testing.assert_allclose(evidence_of(found, x).mean(), best, atol=1e-3)
    np.testing.assert_allclose(found.mean[0], x.mean(0), rtol=1e-10)


def test_recovers_what_made_the_data():
    """Two components; on data not seen no worse than the truth, but for what fitting costs."""
    rng = np.random.default_rng(5)
    truth = FactorMixture(
        jnp.log(jnp.array([0.7, 0.3])),
        jnp.asarray(rng.normal(size=(2, DIM, LATENT))),
        jnp.asarray([np.full(DIM, -2.0), np.full(DIM, 2.0)]),
        jnp.asarray(rng.uniform(0.1, 0.5, size=(2, DIM))),
    )
    train = brute_force_draws(truth, 4000, seed=6)
    held_out = brute_force_draws(truth, 4000, seed=7)
    found = fit_params(KEY, train, num_components=2, latent_dim=LATENT, num_restarts=2)
    loss = evidence_of(truth, held_out) - evidence_of(found, held_out)
    num_params = 1 + 2 * (DIM * LATENT + 2 * DIM)
    assert abs(loss.mean()) < 4 * stderr(loss) + num_params / (2 * len(train))
    assert evidence_of(found, train).mean() > evidence_of(truth, train).mean()
    weights = np.sort(np.exp(found.log_weights))
    np.testing.assert_allclose(weights, [0.3, 0.7], atol=4 * np.sqrt(0.21 / 4000))


def test_explains_grey_digits_better_than_its_parents():
    """More components than factor analysis, correlated pixels where the mixture has none."""
    with jax.enable_x64(False):
        data = load(DataConfig("digits", "gaussian"))
        train, test = jnp.asarray(data.train), jnp.asarray(data.test)
        floor = {"min_variance": data.spec.min_variance}
        few = {"num_components": 10, "num_restarts": 1, **floor}
        models = (
            factor_mixture.fit(KEY, train, latent_dim=4, tolerance=1e-2, **few),
            mixture.fit(KEY, train, likelihood="gaussian", **few),
            linear_gaussian.fit(train, latent_dim=4, noise="diagonal", **floor),
        )
        ours, *parents = (model.log_evidence(KEY, test).lower for model in models)
    for parent in parents:
        gain = np.asarray(ours - parent, np.float64)
        assert gain.mean() > 4 * stderr(gain)


def test_as_many_components_as_observations_and_a_constant_pixel_leave_finite_params(x):
    flat = np.concatenate([x[:4], np.full((4, 1), 3.0)], axis=1)
    params = fit_params(KEY, flat, num_components=4, latent_dim=3, min_variance=0.01)
    assert all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in params)
    assert jnp.all(params.variance >= 0.01)
    assert np.all(np.isfinite(evidence_of(params, flat)))


def test_twins_leave_finite_params(x):
    """Components without observations of their own."""
    twins = np.repeat(x[:2], 20, axis=0)
    params = fit_params(KEY, twins, num_components=3, latent_dim=2)
    assert all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in params)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"num_components": 0}, "num_components is 0"),
        ({"num_components": NUM + 1}, f"num_components is {NUM + 1}: expected 1 to {NUM}"),
        ({"latent_dim": 0}, "latent_dim is 0"),
        ({"latent_dim": DIM}, f"latent_dim is {DIM}: expected 1 to {DIM - 1}"),
        ({"min_variance": 0.0}, "min_variance is 0.0"),
        ({"num_restarts": 0}, "num_restarts is 0"),
    ],
)
def test_refuses_options_it_cannot_use(x, change, words):
    with pytest.raises(InputError, match=words):
        fit_params(KEY, x, **{"num_components": 2, "latent_dim": 2, **change})


def test_refuses_data_it_cannot_use(params, x):
    holed = np.where(np.arange(NUM)[:, None] == 7, np.nan, x)
    with pytest.raises(InputError, match=r"x\[7\] holds something else than finite"):
        fit_params(KEY, holed, num_components=2, latent_dim=2)
    model = factor_mixture.generative(params)
    with pytest.raises(InputError, match=r"x\[7\]"):
        model.log_evidence(KEY, holed)
    with pytest.raises(InputError, match="shape"):
        model.log_evidence(KEY, x[:, :3])
