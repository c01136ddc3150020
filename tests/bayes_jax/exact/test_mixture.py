"""Against enumeration, scikit-learn at the same parameters, and the law that EM never falls."""

from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import bernoulli, multivariate_normal
from sklearn.mixture import GaussianMixture

from bayes_jax.errors import InputError
from bayes_jax.estimates import EvidenceKind
from bayes_jax.exact import mixture
from bayes_jax.exact.mixture import (
    BernoulliMixture,
    DiagonalGaussianMixture,
    FullGaussianMixture,
)
from bayes_jax.exact.mixture_em import em_step, first_responsibilities

KEY = jax.random.key(0)
DIM, COMPONENTS, NUM = 4, 3, 240
FAMILIES = {
    "bernoulli": (BernoulliMixture, {"likelihood": "bernoulli"}),
    "diagonal": (DiagonalGaussianMixture, {"likelihood": "gaussian"}),
    "full": (FullGaussianMixture, {"likelihood": "gaussian", "covariance": "full"}),
}


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


def make_params(family):
    """Three components that overlap a little."""
    rng = np.random.default_rng(1)
    log_weights = jnp.log(jnp.array([0.5, 0.3, 0.2]))
    loc = jnp.asarray(rng.normal(size=(COMPONENTS, DIM)) * 2)
    if family is FullGaussianMixture:
        factor = np.tril(rng.normal(size=(COMPONENTS, DIM, DIM))) * 0.5
        return family(log_weights, loc, jnp.asarray(factor + np.eye(DIM)))
    extra = () if family is BernoulliMixture else (jnp.asarray(rng.uniform(0.2, 1, loc.shape)),)
    return family(log_weights, loc, *extra)


@pytest.fixture(params=list(FAMILIES))
def case(request):
    """A family's options, params, and data drawn from them by NumPy."""
    family, options = FAMILIES[request.param]
    params, rng = make_params(family), np.random.default_rng(2)
    k = rng.choice(COMPONENTS, size=NUM, p=np.exp(params.log_weights))
    components = brute_force_components(params)
    x = np.stack([components[i].rvs(random_state=rng) for i in k]).astype(float)
    return options, params, x


def brute_force_components(params):
    if isinstance(params, BernoulliMixture):
        return [bernoulli(1 / (1 + np.exp(-np.asarray(logits)))) for logits in params.logits]
    if isinstance(params, DiagonalGaussianMixture):
        covariances = [np.diag(variance) for variance in params.variance]
    else:
        covariances = [np.asarray(tril @ tril.T) for tril in params.scale_tril]
    return [
        multivariate_normal(loc, covariance)
        for loc, covariance in zip(np.asarray(params.loc), covariances, strict=True)
    ]


def brute_force_joint(params, x):
    """p(k) p(x | k), `[num, component]`."""
    columns = []
    for component in brute_force_components(params):
        binary = isinstance(params, BernoulliMixture)
        columns.append(component.pmf(x).prod(1) if binary else component.pdf(x))
    return np.stack(columns, axis=1) * np.exp(params.log_weights)


def objective(params, x, smoothing):
    return float(jax.jit(em_step)(params, jnp.asarray(x), smoothing)[1])


def test_evidence_and_responsibilities_equal_enumeration(case):
    _, params, x = case
    joint = brute_force_joint(params, x[:20])
    model = mixture.generative(params)
    evidence = model.log_evidence(KEY, x[:20])
    np.testing.assert_allclose(evidence.lower, np.log(joint.sum(1)), rtol=1e-10)
    assert evidence.kind == EvidenceKind.EXACT
    expected = joint / joint.sum(1, keepdims=True)
    found = jax.jit(jax.vmap(mixture.responsibilities, (None, 0)))(params, x[:20])
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-300)
    np.testing.assert_allclose(jax.jit(model.posterior)(x[0]).probs, found[0], rtol=1e-12)
    log_probs = params.log_weights + jax.jit(type(params).log_probs)(params, x[:20])
    np.testing.assert_allclose(log_probs, np.log(joint), rtol=1e-10)


def test_evidence_sums_to_one_over_all_binary_images():
    images = np.array(list(product((0, 1), repeat=DIM)), np.uint8)
    model = mixture.generative(make_params(BernoulliMixture))
    evidence = model.log_evidence(KEY, images).lower
    np.testing.assert_allclose(np.exp(evidence).sum(), 1, rtol=1e-12)


@pytest.mark.parametrize("covariance", ["diagonal", "full"])
def test_scikit_learns_score_at_the_same_params(covariance):
    family, _ = FAMILIES[covariance]
    params = make_params(family)
    x = mixture.generative(params).sample(KEY, 20)
    peer = GaussianMixture(COMPONENTS, covariance_type=covariance[:4])
    peer.weights_, peer.means_ = np.exp(params.log_weights), np.asarray(params.loc)
    if covariance == "full":
        inverse = np.linalg.inv(np.asarray(params.scale_tril))
        peer.precisions_cholesky_ = inverse.transpose(0, 2, 1)
    else:
        peer.precisions_cholesky_ = 1 / np.sqrt(np.asarray(params.variance))
    found = mixture.generative(params).log_evidence(KEY, x).lower
    np.testing.assert_allclose(found, peer.score_samples(np.asarray(x)), rtol=1e-10)


@pytest.mark.slow
def test_em_never_falls_and_the_fit_beats_the_truth(case):
    options, params, x = case
    smoothing = 1.0 if options["likelihood"] == "bernoulli" else 1e-3

    @jax.jit
    def climb(x):
        first = first_responsibilities(KEY, x, COMPONENTS)
        start = type(params).maximise(first, x, smoothing)
        return jax.lax.scan(lambda params, _: em_step(params, x, smoothing), start, length=40)[1]

    values = climb(jnp.asarray(x))
    assert np.all(np.diff(values) > -1e-12)
    assert values[-1] - values[0] > 1e-3

    fitted = mixture.fit_params(
        KEY,
        x,
        num_components=COMPONENTS,
        min_variance=smoothing,
        pseudo_count=smoothing,
        **options,
    )
    assert isinstance(fitted, type(params))
    # The maximum over params is above the params that made the data, which are one of them.
    assert objective(fitted, x, smoothing) > objective(params, x, smoothing)
    assert objective(fitted, x, smoothing) >= float(values[-1]) - 1e-2


@pytest.mark.parametrize("covariance", ["diagonal", "full"])
def test_well_separated_clusters_are_found(covariance):
    rng = np.random.default_rng(0)
    centres = 10 * np.array([[1.0, 0, 0, 0], [0, 1, 0, 0], [-1, -1, 1, 0]])
    label = rng.integers(COMPONENTS, size=NUM)
    x = centres[label] + rng.normal(size=(NUM, DIM)) * [1.0, 0.5, 2.0, 0.0]
    params = mixture.fit_params(
        KEY,
        x,
        num_components=COMPONENTS,
        min_variance=0.01,
        likelihood="gaussian",
        covariance=covariance,
    )
    order = np.argmin(np.linalg.norm(params.loc[None] - centres[:, None], axis=-1), axis=1)
    shares = np.bincount(label, minlength=COMPONENTS) / NUM
    np.testing.assert_allclose(np.exp(params.log_weights)[order], shares, atol=1e-6)
    clusters = [x[label == k] for k in range(COMPONENTS)]
    means = [cluster.mean(0) for cluster in clusters]
    np.testing.assert_allclose(params.loc[order], means, atol=1e-6)
    variance = params.components().variance[order]
    expected = np.stack([cluster.var(0) for cluster in clusters])
    np.testing.assert_allclose(variance[:, :3], expected[:, :3], rtol=1e-6)
    np.testing.assert_allclose(variance[:, 3], 0.01, rtol=1e-6)  # the floor


def test_pseudo_count_is_a_beta_prior():
    x = np.array([[1, 0], [1, 0], [1, 1]])
    params = mixture.fit_params(KEY, x, num_components=1, pseudo_count=0.5)
    np.testing.assert_allclose(jax.nn.sigmoid(params.logits), [[3.5 / 4, 1.5 / 4]], rtol=1e-12)


def test_samples_have_the_moments_of_the_model(case):
    _, params, _ = case
    num, weights = 20_000, np.exp(params.log_weights)
    draws = np.asarray(mixture.generative(params).sample(KEY, num), float)
    means, variances = params.components().mean, params.components().variance
    mean = weights @ means
    variance = weights @ (variances + (means - mean) ** 2)
    assert np.all(np.abs(draws.mean(0) - mean) < 5 * np.sqrt(variance / num))
    fourth = np.mean((draws - mean) ** 4, axis=0)
    assert np.all(np.abs(draws.var(0) - variance) < 5 * np.sqrt((fourth - variance**2) / num))


def test_more_components_than_distinct_images_leaves_finite_params(case):
    options, _, x = case
    twins = np.repeat(x[:2], NUM // 2, axis=0)
    params = mixture.fit_params(KEY, twins, num_components=COMPONENTS, **options)
    assert all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in params)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"num_components": 0}, "num_components is 0"),
        ({"likelihood": "poisson"}, "poisson/diagonal"),
        ({"covariance": "full"}, "bernoulli/full"),
        ({"pseudo_count": 0.0}, "pseudo_count 0.0"),
        ({"num_restarts": 0}, "num_restarts is 0"),
    ],
)
def test_refuses_options_it_cannot_use(change, words):
    with pytest.raises(InputError, match=words):
        mixture.fit_params(KEY, np.eye(4), **{"num_components": 2, **change})


def test_refuses_data_it_cannot_use():
    grey = np.array([[0, 1, 0, 1], [0, 0.5, 1, 0]])
    with pytest.raises(InputError, match=r"x\[1\] holds something else than 0 and 1"):
        mixture.fit(KEY, grey, num_components=1)
    with pytest.raises(InputError, match=r"x\[0\] holds something else than finite"):
        mixture.fit(KEY, grey * np.nan, num_components=1, likelihood="gaussian")
    model = mixture.generative(make_params(BernoulliMixture))
    with pytest.raises(InputError, match=r"x\[1\]"):
        model.log_evidence(KEY, grey)
    with pytest.raises(InputError, match="shape"):
        model.log_evidence(KEY, grey[:, :2])
