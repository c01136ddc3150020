"""Against closed forms, SciPy's adaptive integrals, and the same rule on other lattices."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from jax.tree_util import Partial
from scipy.integrate import quad
from scipy.stats import chi2, norm

from bayes_jax.errors import InputError
from bayes_jax.estimates import EvidenceKind
from bayes_jax.exact import linear_gaussian, quadrature
from bayes_jax.exact.linear_gaussian import LinearGaussian
from bayes_jax.model import LatentModel

KEY = jax.random.key(0)
NUM_TRACES = 0


def standard_normal(dim):
    return dist.Normal(jnp.zeros(dim), jnp.ones(dim)).to_event(1)


def narrow_linear_gaussian(latent, scale=0.02) -> LinearGaussian:
    """A correlated posterior, up to 20 times narrower than the first spacing."""
    loading = jax.random.normal(jax.random.key(latent), (5, latent))
    return LinearGaussian(loading, jnp.arange(5.0), jnp.full(5, scale**2))


@pytest.mark.slow
@pytest.mark.parametrize("latent", [1, 2, 3])
def test_linear_gaussian_equals_the_closed_form(latent):
    params = narrow_linear_gaussian(latent)
    model = linear_gaussian.generative(params)
    x = model.sample(KEY, 4)
    found = quadrature.posteriors(model.latent, x, num_points=32 if latent == 3 else 64)
    exact = jax.jit(jax.vmap(lambda x: _moments(model.posterior(x))))(x)
    expected = model.log_evidence(KEY, x).lower
    np.testing.assert_allclose(found.log_evidence, expected, atol=5e-4)
    scale = np.sqrt(np.diagonal(exact[1], axis1=1, axis2=2))
    assert np.max(np.abs(found.mean - exact[0]) / scale) < 1e-3
    outer = scale[:, :, None] * scale[:, None, :]
    assert np.max(np.abs(found.covariance - exact[1]) / outer) < 1e-3
    assert np.max(found.error) < 2e-3


def _moments(distribution):
    return distribution.mean, distribution.covariance_matrix


def ring(scale, z):
    """Radius squared, seen through noise: the posterior is a ring around the origin."""
    return dist.Normal(jnp.sum(z**2, keepdims=True), scale).to_event(1)


def test_ring_equals_scipys_integral_over_the_radius():
    scale, x = 0.1, np.array([[4.0], [1.0], [0.02]])
    model = LatentModel(standard_normal(2), Partial(ring, jnp.asarray(scale)))
    found = quadrature.posteriors(model, x.astype(np.float32))
    for value, log_evidence, mean, covariance in zip(
        x[:, 0], found.log_evidence, found.mean, found.covariance, strict=True
    ):

        def integral(power, value=value):
            def density(r):  # |z|^2 is chi-squared with two degrees of freedom
                return r**power * chi2.pdf(r, 2) * norm.pdf(value, r, scale)

            return quad(density, 0, 12, points=[value], epsabs=1e-13)[0]

        evidence = integral(0)
        np.testing.assert_allclose(log_evidence, np.log(evidence), atol=5e-4)
        np.testing.assert_allclose(mean, 0, atol=1e-4)
        expected = integral(1) / evidence / 2 * np.eye(2)
        np.testing.assert_allclose(covariance, expected, atol=2e-4 * expected.max())


def test_ring_too_thin_for_the_lattice_gives_up_no_mass_and_says_so():
    """Half the finest spacing thick: refining further would follow a part of the ring only."""
    model = LatentModel(standard_normal(2), Partial(ring, jnp.asarray(0.02)))
    found = jax.jit(quadrature.posterior)(model, jnp.array([4.0]))
    # |z|^2 is exponential with mean 2: its density at 4, smoothed by the noise.
    expected = np.log(0.5) - 4 / 2 + 0.02**2 / 8
    actual = abs(found.log_evidence - expected)
    assert actual < found.error < 0.05
    np.testing.assert_allclose(found.covariance, 2 * np.eye(2), atol=0.05)


def folded(scale, z):
    """z_1 seen through its square: two modes, each far narrower than the first spacing."""
    return dist.Normal(jnp.stack([z[0] ** 2, z[1]]), scale).to_event(1)


def test_two_narrow_modes_keep_their_mass():
    scale, x = 0.02, np.array([2.0, -0.7])
    model = LatentModel(standard_normal(2), Partial(folded, jnp.asarray(scale)))
    found = jax.jit(quadrature.posterior)(model, jnp.asarray(x, jnp.float32))
    mode = np.sqrt(x[0])
    half = quad(
        lambda z: norm.pdf(z) * norm.pdf(x[0], z**2, scale), 0, 3, points=[mode], epsabs=1e-13
    )[0]
    second = norm.logpdf(x[1], 0, np.hypot(1, scale))
    np.testing.assert_allclose(found.log_evidence, np.log(2 * half) + second, atol=5e-4)
    left = found.points[:, 0] < 0
    np.testing.assert_allclose(jnp.sum(found.weights[left]), 0.5, atol=1e-4)
    np.testing.assert_allclose(found.covariance[0, 0], x[0], rtol=1e-2)
    np.testing.assert_allclose(jnp.sum(found.weights), 1, atol=1e-5)


def test_error_tells_of_a_posterior_outside_the_box():
    model = linear_gaussian.latent_model(narrow_linear_gaussian(1))
    x = linear_gaussian.likelihood(narrow_linear_gaussian(1), jnp.array([3.0])).mean[None]
    assert quadrature.log_evidence(model, x).kind == EvidenceKind.EXACT
    outside = quadrature.log_evidence(model, x, span=2.0)
    assert outside.kind == EvidenceKind.ESTIMATE
    assert outside.stderr_lower[0] > 0.5


def test_error_tells_of_a_lattice_too_coarse():
    params = narrow_linear_gaussian(2)
    model = linear_gaussian.latent_model(params)
    x = linear_gaussian.generative(params).sample(KEY, 1)
    coarse = quadrature.posteriors(model, x, num_refinements=1)
    fine = quadrature.posteriors(model, x)
    actual = abs(coarse.log_evidence - fine.log_evidence)
    assert actual > 0.1
    assert coarse.error >= actual


def counted(scale, z):
    global NUM_TRACES
    NUM_TRACES += 1
    return dist.Normal(jnp.tanh(z) * scale, 0.3).to_event(1)


def test_other_params_and_data_trace_nothing_and_batches_agree():
    x = jax.random.normal(KEY, (5, 2))
    model = LatentModel(standard_normal(2), Partial(counted, jnp.ones(2)))
    options = {"num_points": 32, "batch_size": 2}
    split = quadrature.log_evidence(model, x, **options).lower
    before = NUM_TRACES
    other = LatentModel(standard_normal(2), Partial(counted, 2 * jnp.ones(2)))
    assert not np.allclose(quadrature.log_evidence(other, x + 1, **options).lower, split)
    assert before == NUM_TRACES
    whole = quadrature.log_evidence(model, x, num_points=32).lower
    np.testing.assert_allclose(whole, split, atol=1e-5)


def test_refuses_what_it_cannot_integrate():
    model = linear_gaussian.latent_model(narrow_linear_gaussian(4))
    with pytest.raises(InputError, match="4 latent dimensions"):
        quadrature.log_evidence(model, jnp.zeros((1, 5)))
    model = linear_gaussian.latent_model(narrow_linear_gaussian(2))
    with pytest.raises(InputError, match="num_points is 7"):
        quadrature.posterior(model, jnp.zeros(5), num_points=7)
    with pytest.raises(InputError, match="support"):
        quadrature.log_evidence(model, jnp.full((1, 5), jnp.nan))
