"""PPCA and factor analysis: fit, exact posterior, exact evidence, exact p(x_missing | x_observed).

The model is z ~ N(0, I), x | z ~ N(W z + mean, diag(variance)); PPCA shares one variance between
all pixels (Tipping, Bishop 1999, "Probabilistic principal component analysis", JRSS B 61,
https://doi.org/10.1111/1467-9868.00196), factor analysis has one for each. Functions of params take
ONE x and are pure; no matrix of size dim x dim is inverted.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax.scipy.linalg import cho_solve, solve
from jax.tree_util import Partial
from jaxtyping import Array, Bool, Float, Num

from bayes_jax.errors import InputError
from bayes_jax.estimates import exact_evidence
from bayes_jax.missing import NO_NATS, Completion
from bayes_jax.model import GenerativeModel, LatentModel, check_observations, simulate

Observation = Num[Array | np.ndarray, " dim"]
Observations = Num[Array | np.ndarray, "num dim"]

# Closed forms lose their digits in the reduced-precision products that accelerators default to.
_exact_products = jax.default_matmul_precision("highest")

_STEPS_PER_CHECK = 50


class LinearGaussian(NamedTuple):
    """Parameters of x = W z + mean + noise.

    Attributes:
        loading: W, `[dim, latent]`.
        mean: `[dim]`.
        variance: of the noise, `[dim]`; constant for PPCA.
    """

    loading: Float[Array, "dim latent"]
    mean: Float[Array, " dim"]
    variance: Float[Array, " dim"]


class Conditional(NamedTuple):
    """p(z | x_observed) and p(x | x_observed), both Gaussian.

    The covariance of x is `factor @ factor.T + diag(noise_variance)`, so that
    `mean + factor @ e + sqrt(noise_variance) * f` with e, f standard normal is an exact imputation.

    Attributes:
        latent_mean: E[z | x_observed], `[latent]`.
        latent_covariance: Cov[z | x_observed], `[latent, latent]`.
        mean: E[x | x_observed], equal to x where observed, `[dim]`.
        factor: zero in the rows of observed pixels, `[dim, latent]`.
        noise_variance: zero where observed, `[dim]`.
    """

    latent_mean: Float[Array, " latent"]
    latent_covariance: Float[Array, "latent latent"]
    mean: Float[Array, " dim"]
    factor: Float[Array, "dim latent"]
    noise_variance: Float[Array, " dim"]


def fit(
    x: Observations,
    *,
    latent_dim: int,
    noise: str = "isotropic",
    min_variance: float = 1e-6,
    num_iterations: int = 10_000,
    tolerance: float = 1e-4,
) -> GenerativeModel:
    """Maximum likelihood PPCA (`isotropic`) or factor analysis (`diagonal`), ready for use.

    Arguments are those of `fit_params`; the result is `generative(fit_params(x, ...))`.
    """
    return generative(
        fit_params(
            x,
            latent_dim=latent_dim,
            noise=noise,
            min_variance=min_variance,
            num_iterations=num_iterations,
            tolerance=tolerance,
        )
    )


def fit_params(
    x: Observations,
    *,
    latent_dim: int,
    noise: str = "isotropic",
    min_variance: float = 1e-6,
    num_iterations: int = 10_000,
    tolerance: float = 1e-4,
) -> LinearGaussian:
    """Maximise the likelihood under a floor on the noise variance.

    PPCA has a closed form: with eigenvalues l of the sample covariance, s2 = mean of the discarded
    ones and W = U (L - s2 I)^(1/2). Factor analysis runs EM from there, in the parameter-expanded
    form, which climbs the same likelihood in fewer steps.

    Args:
        x: observations.
        latent_dim: number of latent dimensions, below dim.
        noise: `isotropic` (PPCA) or `diagonal` (factor analysis).
        min_variance: floor of the noise variance. W is the maximum likelihood one given the floor.
        num_iterations: most EM steps (factor analysis only), rounded up to a multiple of 50.
        tolerance: EM stops when 50 steps gain less than so many nats per observation.

    Returns:
        The parameters.

    Raises:
        InputError: for data or options that cannot be used.

    References:
        Rubin, Thayer 1982, "EM algorithms for ML factor analysis",
        https://doi.org/10.1007/BF02293851; Liu, Rubin, Wu 1998, "Parameter expansion to accelerate
        EM: the PX-EM algorithm", https://doi.org/10.1093/biomet/85.4.755.
    """
    x = jnp.asarray(x, jnp.result_type(float))
    _check_data(x, latent_dim)
    if noise not in ("isotropic", "diagonal"):
        raise InputError(f"noise is {noise!r}: expected isotropic (PPCA) or diagonal")
    if not min_variance > 0:
        raise InputError(f"min_variance is {min_variance}: expected a positive number")
    if num_iterations < 1:
        raise InputError(f"num_iterations is {num_iterations}: expected at least 1")
    if noise == "isotropic":
        return _fit_isotropic(x, min_variance, latent_dim)
    num_checks = -(-num_iterations // _STEPS_PER_CHECK)
    return _fit_diagonal(x, min_variance, num_checks, tolerance, latent_dim)


def generative(params: LinearGaussian) -> GenerativeModel:
    """The fitted model from its parameters, for instance those of a checkpoint."""
    params = LinearGaussian(*params)
    latent = latent_model(params)

    def sample(key, num):
        return simulate(key, latent, num)[1]

    def evidence(key, x):
        check_observations(latent, x)
        return exact_evidence(_batch_log_evidence(params, x))

    return GenerativeModel(
        sample,
        evidence,
        latent,
        posterior=Partial(posterior, params),
        completion=Partial(completion, params),
    )


def latent_model(params: LinearGaussian) -> LatentModel:
    """The model as p(z) p(x | z), for the engines."""
    loc = jnp.zeros_like(params.loading[0])
    prior = dist.Normal(loc, jnp.ones_like(loc)).to_event(1)
    return LatentModel(prior, Partial(likelihood, params))


@_exact_products
def likelihood(params: LinearGaussian, z: Float[Array, " latent"]) -> dist.Distribution:
    """p(x | z) = N(W z + mean, diag(variance)), for one z."""
    loc = params.loading @ z + params.mean
    return dist.Normal(loc, jnp.sqrt(params.variance)).to_event(1)


def posterior(params: LinearGaussian, x: Observation) -> dist.MultivariateNormal:
    """p(z | x) = N(P^-1 W' V^-1 (x - mean), P^-1) with P = I + W' V^-1 W, for one x.

    Args:
        params: the model, V = diag(variance).
        x: one observation.

    Returns:
        The exact posterior, event shape `[latent]`.
    """
    return _posterior(params, x, jnp.zeros(x.shape, bool))


@_exact_products
def _posterior(params, x, missing) -> dist.MultivariateNormal:
    weight = jnp.where(missing, 0, 1 / params.variance)[:, None] * params.loading
    precision = jnp.eye(weight.shape[1], dtype=weight.dtype) + params.loading.T @ weight
    residual = jnp.where(missing, 0, x - params.mean)
    # Rounding alone makes it asymmetric, more than NumPyro lets pass.
    precision = 0.5 * (precision + precision.T)
    loc = solve(precision, weight.T @ residual, assume_a="pos")
    return dist.MultivariateNormal(loc, precision_matrix=precision)


def log_evidence(params: LinearGaussian, x: Observation) -> Float[Array, ""]:
    """log N(x; mean, W W' + diag(variance)) in nats, for one x."""
    return log_evidences(params, x[None])[0]


@_exact_products
def log_evidences(params: LinearGaussian, x: Observations) -> Float[Array, " num"]:
    """`log_evidence` of a batch, for which what is the same for every x is computed once.

    It is log p(x, z) - log p(z | x), the same at every z, at the posterior mean: there x enters
    through squared residuals only, so small noise variances cancel no digits. With P the precision
    of p(z | x), -2 log p(x) = |z|^2 + |x - W z - mean|^2 / variance + log |P| + log |2 pi V|.

    Args:
        params: the model, V = diag(variance).
        x: observations.
    """
    weight = params.loading / params.variance[:, None]
    precision = jnp.eye(weight.shape[1], dtype=weight.dtype) + params.loading.T @ weight
    factor = jnp.linalg.cholesky(precision)
    centred = x - params.mean
    z = centred @ cho_solve((factor, True), weight.T).T
    residual = centred - z @ params.loading.T
    square = jnp.sum(z**2, axis=1) + residual**2 @ (1 / params.variance)
    log_determinant = 2 * jnp.sum(jnp.log(jnp.diag(factor)))
    return -0.5 * (square + log_determinant + jnp.sum(jnp.log(2 * jnp.pi * params.variance)))


@_exact_products
def conditional(
    params: LinearGaussian, x: Observation, missing: Bool[Array, " dim"]
) -> Conditional:
    """p(z | x_observed) and p(x_missing | x_observed), for one x.

    Args:
        params: the model.
        x: one observation; its values where `missing` are not read and may be NaN.
        missing: True where x was not observed.

    Returns:
        Both Gaussians; with everything missing they are p(z) and p(x).
    """
    exact = _posterior(params, x, missing)
    return Conditional(
        latent_mean=exact.loc,
        latent_covariance=exact.covariance_matrix,
        mean=jnp.where(missing, params.loading @ exact.loc + params.mean, x),
        factor=jnp.where(missing[:, None], params.loading @ exact.scale_tril, 0),
        noise_variance=jnp.where(missing, params.variance, 0),
    )


@_exact_products
def completion(params: LinearGaussian, x: Observation, missing: Bool[Array, " dim"]) -> Completion:
    """`conditional` as a distribution over x, for one x."""
    found = conditional(params, x, missing)
    variance = jnp.where(missing, found.noise_variance, NO_NATS)
    return Completion(
        dist.LowRankMultivariateNormal(found.mean, found.factor, variance), x, missing
    )


_batch_log_evidence = jax.jit(log_evidences)


def _check_data(x, latent_dim: int) -> None:
    num, dim = x.shape
    if num < 2:
        raise InputError(f"x has {num} observations: expected at least 2")
    if not 1 <= latent_dim < dim:
        raise InputError(f"latent_dim is {latent_dim}: expected 1 to {dim - 1}, below x's dim")
    finite = jnp.all(jnp.isfinite(x), axis=1)
    if not bool(jnp.all(finite)):
        raise InputError(f"x[{int(jnp.argmin(finite))}] holds NaN or infinity: remove or impute it")


@partial(jax.jit, static_argnums=2)
@_exact_products
def _fit_isotropic(x, min_variance, latent_dim) -> LinearGaussian:
    return closed_form(jnp.mean(x, axis=0), _covariance(x), min_variance, latent_dim)


@partial(jax.jit, static_argnums=4)
@_exact_products
def _fit_diagonal(x, min_variance, num_checks, tolerance, latent_dim) -> LinearGaussian:
    covariance = _covariance(x)
    start = closed_form(jnp.mean(x, axis=0), covariance, min_variance, latent_dim)
    rest = jnp.diag(covariance) - jnp.sum(start.loading**2, axis=1)
    start = start._replace(variance=jnp.maximum(rest, min_variance))

    def step(params):
        return em_step(params, partial(jnp.matmul, covariance), jnp.diag(covariance), min_variance)

    def climb(state):
        params, value, _, num = state
        params, _ = jax.lax.scan(
            lambda params, _: (step(params), None),
            params,
            length=_STEPS_PER_CHECK,
        )
        # On the data rather than on their covariance, where float32 cancels most of its digits.
        new_value = jnp.mean(_batch_log_evidence(params, x))
        return params, new_value, new_value - value, num + 1

    def unfinished(state):
        return (state[2] >= tolerance) & (state[3] < num_checks)

    value = jnp.mean(_batch_log_evidence(start, x))
    state = (start, value, jnp.full_like(value, jnp.inf), jnp.asarray(0))
    return jax.lax.while_loop(unfinished, climb, state)[0]


def _covariance(x) -> Float[Array, "dim dim"]:
    centred = x - jnp.mean(x, axis=0)
    return centred.T @ centred / x.shape[0]


def closed_form(
    mean: Float[Array, " dim"],
    covariance: Float[Array, "dim dim"],
    min_variance: Float[Array, ""] | float,
    latent_dim: int,
) -> LinearGaussian:
    """PPCA of these moments, the floor of the noise variance kept."""
    eigenvalues, directions = jnp.linalg.eigh(covariance)
    variance = jnp.maximum(jnp.mean(eigenvalues[:-latent_dim]), min_variance)
    signal = jnp.maximum(eigenvalues[-latent_dim:] - variance, 0)
    loading = directions[:, -latent_dim:] * jnp.sqrt(signal)
    return LinearGaussian(loading, mean, jnp.full_like(mean, variance))


def em_step(
    params: LinearGaussian,
    covariance_times: Callable,
    pixel_variance: Float[Array, " dim"],
    min_variance: Float[Array, ""] | float,
) -> LinearGaussian:
    """One step of parameter-expanded EM, the mean kept. Traced: callers carry the `jit`.

    Args:
        params: where it starts.
        covariance_times: `[dim, latent]` -> S times it, S the second moment of x - mean; so that
            who has S only as a product of data need not form it.
        pixel_variance: the diagonal of S.
        min_variance: floor of the noise variance.
    """
    weight = params.loading / params.variance[:, None]
    latent_covariance = jnp.linalg.inv(jnp.eye(weight.shape[1]) + params.loading.T @ weight)
    cross = covariance_times(weight) @ latent_covariance  # mean over x of (x - mean) E[z | x]'
    second_moment = latent_covariance + latent_covariance @ weight.T @ cross  # of E[z z' | x]
    loading = solve(second_moment, cross.T, assume_a="pos").T
    residual = pixel_variance - jnp.sum(loading * cross, axis=1)
    return LinearGaussian(
        # PX-EM: the M step of a model with z ~ N(0, R) has R = second_moment; put it back into W.
        loading @ jnp.linalg.cholesky(second_moment),
        params.mean,
        jnp.maximum(residual, min_variance),
    )
