"""Every reference against a plain sum over a dense grid in float64, and against SciPy."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import dblquad, quad
from scipy.special import gammaln, logsumexp
from scipy.stats import multivariate_normal, norm
from scipy.stats import poisson as scipy_poisson

from bayes_jax.errors import InputError
from bayes_jax.estimates import EvidenceKind
from bayes_jax.exact import quadrature, reference
from bayes_jax.model import log_joint, simulate

NUM = 6


@pytest.fixture(scope="module", params=list(reference.REFERENCES))
def case(request):
    made = reference.REFERENCES[request.param]()
    z, x = simulate(jax.random.key(4), made.model, NUM)
    return made, z, x


class DenseGrid(NamedTuple):
    points: np.ndarray
    weights: np.ndarray
    log_evidence: float
    mean: np.ndarray
    covariance: np.ndarray


def dense_grids(model, x):
    """p(z | x) for each x on a grid over [-9, 9] that nothing adapts, summed in float64."""
    dim = model.prior.event_shape[0]
    axis = np.linspace(-9, 9, {1: 4001, 2: 301}[dim])
    points = np.stack(np.meshgrid(*[axis] * dim, indexing="ij"), axis=-1).reshape(-1, dim)
    log_density = jax.jit(lambda x: jax.vmap(lambda z: log_joint(model, z, x))(jnp.asarray(points)))
    for row in x:
        values = np.asarray(log_density(row), np.float64)
        density = np.exp(values - values.max())
        weights = density / density.sum()
        mean = weights @ points
        covariance = (weights[:, None] * (points - mean)).T @ (points - mean)
        log_volume = dim * np.log(axis[1] - axis[0])
        log_evidence = values.max() + np.log(density.sum()) + log_volume
        yield DenseGrid(points, weights, log_evidence, mean, covariance)


@pytest.mark.slow
def test_evidence_and_moments_equal_a_dense_grid(case):
    made, _, x = case
    means, covariances = made.posterior_moments(x)
    log_evidence = made.log_evidence(x)
    for row, grid in enumerate(dense_grids(made.model, x)):
        np.testing.assert_allclose(log_evidence[row], grid.log_evidence, atol=1e-4)
        np.testing.assert_allclose(means[row], grid.mean, atol=2e-4)
        np.testing.assert_allclose(covariances[row], grid.covariance, atol=5e-4)


def test_name_is_the_key(case):
    made, _, _ = case
    assert reference.REFERENCES[made.name]().name == made.name


def test_poisson_equals_scipys_integral():
    made = reference.poisson()
    x = jnp.tile(jnp.array([3, 0, 1]), (NUM, 1))
    offset, slope = np.array([0.0, -1.0, 0.5]), np.array([1.0, 1.5, -0.3])

    def density(z):
        return norm.pdf(z) * np.prod(scipy_poisson.pmf(x[0], np.exp(offset + slope * z)))

    np.testing.assert_allclose(
        made.log_evidence(x)[0], np.log(quad(density, -8, 8, epsabs=1e-13)[0]), atol=2e-5
    )


def test_poisson_is_skewed_and_the_mixture_has_two_modes():
    (grid,) = dense_grids(reference.poisson().model, jnp.zeros((1, 3), int))
    standardised = (grid.points[:, 0] - grid.mean) / np.sqrt(grid.covariance[0, 0])
    assert grid.weights @ standardised**3 < -0.2

    (grid,) = dense_grids(reference.mixture_prior().model, jnp.array([[0.3, 0.6]]))
    first = grid.points[:, 0]
    assert 0.1 < grid.weights[first < 0].sum() < 0.9
    assert grid.weights[np.abs(first) < 0.3].sum() < 0.05


def test_linear_gaussian_posterior_is_correlated():
    made = reference.linear_gaussian(3, 7)
    covariance = np.asarray(made.posterior_moments(jnp.zeros((1, 7)))[1][0])
    scale = np.sqrt(np.diag(covariance))
    assert np.abs(covariance / np.outer(scale, scale))[np.triu_indices(3, 1)].max() > 0.2


def test_linear_gaussian_evidence_is_that_of_the_joint_gaussian():
    made = reference.linear_gaussian()
    x = simulate(jax.random.key(4), made.model, NUM)[1]
    loading, mean, variance = (np.asarray(leaf, np.float64) for leaf in made.posterior.args[0])
    covariance = loading @ loading.T + np.diag(variance)
    expected = multivariate_normal(mean, covariance).logpdf(x)
    np.testing.assert_allclose(made.log_evidence(x), expected, atol=2e-5)


def test_mixture_evidence_is_the_sum_over_components():
    made = reference.mixture_prior()
    x = simulate(jax.random.key(4), made.model, NUM)[1]
    (log_weights, locs, scales, _) = made.posterior.args[0]
    weights, locs, scales = np.exp(log_weights), np.float64(locs), np.float64(scales)
    loading, _, variance = (np.asarray(leaf, np.float64) for leaf in made.model.likelihood.args[0])
    expected = logsumexp(
        [
            np.log(weight)
            + multivariate_normal(
                loading @ loc, loading @ np.diag(scale**2) @ loading.T + np.diag(variance)
            ).logpdf(x)
            for weight, loc, scale in zip(weights, locs, scales, strict=True)
        ],
        axis=0,
    )
    np.testing.assert_allclose(made.log_evidence(x), expected, atol=2e-5)


def log_likelihood(family, outputs, x):
    """Written out in float64, with every constant."""
    if family == "bernoulli":
        return np.sum(x * outputs - np.logaddexp(0, outputs))
    if family == "gaussian":
        return np.sum(-0.5 * ((x - outputs) / 0.5) ** 2 - np.log(0.5) - 0.5 * np.log(2 * np.pi))
    return np.sum(x * outputs - np.exp(outputs) - gammaln(x + 1))


@pytest.mark.parametrize("family", ["bernoulli", "gaussian", "poisson"])
@pytest.mark.parametrize("latent_dim", [1, pytest.param(2, marks=pytest.mark.long)])
def test_nonlinear_evidence_equals_scipys_integral(family, latent_dim):
    """p(x, z) / p(x) as claimed integrates to 1, in float64 and by an adaptive rule."""
    made = getattr(reference, f"nonlinear_{family}")(latent_dim)
    x = simulate(jax.random.key(4), made.model, NUM)[1]
    claimed = np.asarray(made.log_evidence(x), np.float64)
    hidden, bias, out = (np.asarray(leaf, np.float64) for leaf in made.model.likelihood.args[0])

    for row in range(3 - latent_dim):
        observed = np.asarray(x[row], np.float64)

        def density(*z, observed=observed, row=row):
            z = np.array(z)
            log_prior = -0.5 * z @ z - 0.5 * latent_dim * np.log(2 * np.pi)
            outputs = out @ np.tanh(hidden @ z + bias)
            value = log_prior + log_likelihood(family, outputs, observed)
            return np.exp(value - claimed[row])

        if latent_dim == 1:
            total = quad(density, -8, 8, points=[-1, 0, 1], epsabs=1e-8)[0]
        else:
            total = dblquad(density, -6, 6, -6, 6, epsabs=1e-5, epsrel=1e-5)[0]
        np.testing.assert_allclose(total, 1, atol=1e-4)


BY_QUADRATURE = [name for name in reference.REFERENCES if "poisson" in name or "nonlinear" in name]
# Those that the quick suite integrates.
QUICK = {"poisson", "nonlinear_bernoulli", "nonlinear_gaussian_1d"}


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in QUICK else pytest.mark.long) for name in BY_QUADRATURE],
)
def test_quadrature_is_exact_to_a_thousandth_of_a_nat(name):
    model = reference.REFERENCES[name]().model
    x = simulate(jax.random.key(7), model, 64)[1]
    grid = quadrature.posteriors(model, x)
    assert float(jnp.max(grid.error)) < 1e-3
    assert quadrature.evidence(grid.log_evidence, grid.error).kind == EvidenceKind.EXACT
    # Neither uninformative nor a spike, as a share of the prior's scale of 1.
    scale = np.sqrt(np.diagonal(grid.covariance, axis1=1, axis2=2))
    assert scale.min() > 0.05
    assert np.median(scale) < 0.85
    # And not symmetric: the third moment along some axis, in units of the scale.
    centred = (np.asarray(grid.points) - np.asarray(grid.mean)[:, None]) / scale[:, None]
    skewness = np.einsum("bp,bpi->bi", np.asarray(grid.weights), centred**3)
    assert np.abs(skewness).mean() > 0.2


@pytest.mark.parametrize("latent_dim", [1, 2])
def test_nonlinear_gaussian_has_two_modes_for_some_x(latent_dim):
    made = reference.nonlinear_gaussian(latent_dim)
    x = simulate(jax.random.key(7), made.model, 32)[1]
    num_bimodal = 0
    for grid in dense_grids(made.model, x):
        side = round(len(grid.weights) ** (1 / latent_dim))
        density = grid.weights.reshape((side,) * latent_dim)
        is_mode = density > 0.1 * density.max()
        for step in np.ndindex((3,) * latent_dim):
            shift = np.array(step) - 1
            if shift.any():
                is_mode &= density >= np.roll(density, shift, axis=tuple(range(latent_dim)))
        num_bimodal += is_mode.sum() > 1
    assert num_bimodal >= 6


def test_nonlinear_decoders_refuse_other_dimensions():
    with pytest.raises(InputError, match="latent_dim is 3: expected 1 or 2"):
        reference.nonlinear_poisson(3)
