"""Bernoulli and Gaussian mixtures by EM: exact evidence, exact posterior over components.

p(x) = sum_k w_k p(x | k). The latent is the component, a discrete number, so a fitted mixture has
no `LatentModel`; its posterior is a `Categorical`. Functions of params take ONE x and are pure.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax.scipy.special import logit, logsumexp
from jax.tree_util import Partial
from jaxtyping import Array, Bool, Float, Num, PRNGKeyArray
from numpyro.distributions import constraints

from bayes_jax.errors import InputError
from bayes_jax.estimates import exact_evidence
from bayes_jax.exact.climb import best_climb
from bayes_jax.exact.mixture_em import (
    check_counts,
    check_support,
    em_step,
    first_responsibilities,
    log_weights_of,
    shares_of,
)
from bayes_jax.missing import Completion, condition
from bayes_jax.model import GenerativeModel

Observation = Num[Array | np.ndarray, " dim"]
Observations = Num[Array | np.ndarray, "num dim"]

_exact_products = jax.default_matmul_precision("highest")


class BernoulliMixture(NamedTuple):
    """Binary pixels, independent given the component.

    Attributes:
        log_weights: log w_k, normalised, `[component]`.
        logits: log-odds of each pixel, `[component, dim]`.
    """

    log_weights: Float[Array, " component"]
    logits: Float[Array, "component dim"]

    def components(self) -> dist.Distribution:
        """p(x | k), batch shape `[component]`."""
        return dist.BernoulliLogits(self.logits).to_event(1)

    support = constraints.boolean

    def log_probs(self, x):
        """log p(x | k) of a batch in one matrix product, `[num, component]`."""
        return x @ self.logits.T - jnp.sum(jax.nn.softplus(self.logits), axis=1)

    def log_prior(self, pseudo_count):
        """Of the pixels under Beta(1 + pseudo_count, 1 + pseudo_count), up to a constant."""
        log_odds = jax.nn.log_sigmoid(self.logits) + jax.nn.log_sigmoid(-self.logits)
        return pseudo_count * jnp.sum(log_odds)

    @classmethod
    def maximise(cls, responsibilities, x, pseudo_count):
        """The M step: smoothed frequencies."""
        counts = jnp.sum(responsibilities, axis=0)
        ones = responsibilities.T @ x + pseudo_count
        probs = ones / (counts + 2 * pseudo_count)[:, None]
        return cls(log_weights_of(counts), logit(probs))


class DiagonalGaussianMixture(NamedTuple):
    """Real pixels, independent given the component.

    Attributes:
        log_weights: log w_k, normalised, `[component]`.
        loc: `[component, dim]`.
        variance: `[component, dim]`.
    """

    log_weights: Float[Array, " component"]
    loc: Float[Array, "component dim"]
    variance: Float[Array, "component dim"]

    def components(self) -> dist.Distribution:
        """p(x | k), batch shape `[component]`."""
        return dist.Normal(self.loc, jnp.sqrt(self.variance)).to_event(1)

    support = constraints.real

    def log_probs(self, x):
        """log p(x | k) of a batch, `[num, component]`."""
        return _log_probs_by_component(self, x)

    def log_prior(self, min_variance):
        """Flat above the floor."""
        return 0.0

    @classmethod
    def maximise(cls, responsibilities, x, min_variance):
        """The M step: weighted means and variances, the latter no lower than the floor."""
        shares, log_weights = shares_of(responsibilities)
        loc = shares @ x
        variance = jax.lax.map(lambda c: c[0] @ (x - c[1]) ** 2, (shares, loc))
        return cls(log_weights, loc, jnp.maximum(variance, min_variance))


class FullGaussianMixture(NamedTuple):
    """Real pixels, correlated within a component.

    Attributes:
        log_weights: log w_k, normalised, `[component]`.
        loc: `[component, dim]`.
        scale_tril: Cholesky factors of the covariances, `[component, dim, dim]`.
    """

    log_weights: Float[Array, " component"]
    loc: Float[Array, "component dim"]
    scale_tril: Float[Array, "component dim dim"]

    def components(self) -> dist.Distribution:
        """p(x | k), batch shape `[component]`."""
        return dist.MultivariateNormal(self.loc, scale_tril=self.scale_tril)

    support = constraints.real

    def log_probs(self, x):
        """log p(x | k) of a batch, `[num, component]`."""
        return _log_probs_by_component(self, x)

    def log_prior(self, min_variance):
        """Flat above the floor."""
        return 0.0

    @classmethod
    def maximise(cls, responsibilities, x, min_variance):
        """The M step: weighted means and covariances, no eigenvalue lower than the floor."""
        shares, log_weights = shares_of(responsibilities)
        loc = shares @ x
        scatter = jax.lax.map(lambda c: (c[0] * (x - c[1]).T) @ (x - c[1]), (shares, loc))
        eigenvalues, directions = jnp.linalg.eigh(scatter)
        root = directions * jnp.sqrt(jnp.maximum(eigenvalues, min_variance))[:, None, :]
        return cls(log_weights, loc, _cholesky_of_square(root))


Mixture = BernoulliMixture | DiagonalGaussianMixture | FullGaussianMixture

_FAMILIES = {
    ("bernoulli", "diagonal"): BernoulliMixture,
    ("gaussian", "diagonal"): DiagonalGaussianMixture,
    ("gaussian", "full"): FullGaussianMixture,
}


def fit(
    key: PRNGKeyArray,
    x: Observations,
    *,
    num_components: int,
    likelihood: str = "bernoulli",
    **options,
) -> GenerativeModel:
    """A mixture fitted by EM, ready for use: `generative(fit_params(key, x, ...))`.

    Args:
        key: a PRNG key, of the starts.
        x: observations; 0/1 for a Bernoulli mixture.
        num_components: number of components.
        likelihood: `bernoulli` or `gaussian`.
        **options: the others of `fit_params`.
    """
    return generative(
        fit_params(key, x, num_components=num_components, likelihood=likelihood, **options)
    )


def fit_params(
    key: PRNGKeyArray,
    x: Observations,
    *,
    num_components: int,
    likelihood: str = "bernoulli",
    covariance: str = "diagonal",
    min_variance: float = 1e-6,
    pseudo_count: float = 0.5,
    num_restarts: int = 4,
    num_iterations: int = 500,
    tolerance: float = 1e-4,
) -> Mixture:
    """EM from several k-means++ starts at once; the best is kept.

    Args:
        key: a PRNG key, of the starts.
        x: observations; 0/1 for a Bernoulli mixture.
        num_components: number of components.
        likelihood: `bernoulli` or `gaussian`.
        covariance: of a Gaussian component, `diagonal` or `full`.
        min_variance: floor of every variance of a Gaussian component, of every eigenvalue of a
            full covariance; the M step is the exact maximum under it.
        pseudo_count: images of ones, and as many of zeros, that each Bernoulli component has seen
            before the data: a Beta(1 + pseudo_count, 1 + pseudo_count) prior on each pixel, so
            that no test image is impossible.
        num_restarts: starts, run together; memory is proportional to it.
        num_iterations: most EM steps.
        tolerance: EM stops when a step gains less than so many nats per observation.

    Returns:
        The parameters of the start with the highest log likelihood plus log prior.

    Raises:
        InputError: for data or options that cannot be used.

    References:
        Dempster, Laird, Rubin 1977, "Maximum likelihood from incomplete data via the EM algorithm",
        https://doi.org/10.1111/j.2517-6161.1977.tb01600.x; Arthur, Vassilvitskii 2007, "k-means++",
        https://dl.acm.org/doi/10.5555/1283383.1283494.
    """
    family = _FAMILIES.get((likelihood, covariance))
    if family is None:
        known = ", ".join("/".join(names) for names in _FAMILIES)
        raise InputError(f"likelihood/covariance is {likelihood}/{covariance}: expected {known}")
    x = jnp.asarray(x, jnp.result_type(float))
    check_support(family.support, x)
    check_counts(len(x), num_components, num_restarts, num_iterations)
    smoothing = pseudo_count if family is BernoulliMixture else min_variance
    if not smoothing > 0:
        raise InputError(
            f"min_variance is {min_variance}, pseudo_count {pseudo_count}: expected positive ones"
        )
    keys = jax.random.split(key, num_restarts)
    return _fit(keys, x, smoothing, tolerance, num_iterations, num_components, family)


def generative(params: Mixture) -> GenerativeModel:
    """The fitted model from its parameters, for instance those of a checkpoint.

    `latent` is None because the latent is discrete; `posterior` is a Categorical over components.
    """

    def sample(key, num):
        return _sample(params, key, num)

    def evidence(key, x):
        (dim,) = params.components().event_shape
        if x.ndim != 2 or x.shape[1] != dim:
            raise InputError(f"x has shape {x.shape}: expected [batch, {dim}]")
        check_support(params.support, x)
        return exact_evidence(_batch_log_evidence(params, x))

    return GenerativeModel(
        sample,
        evidence,
        posterior=Partial(posterior, params),
        completion=Partial(completion, params),
    )


def distribution(params: Mixture) -> dist.MixtureSameFamily:
    """p(x) as a NumPyro distribution, event shape `[dim]`."""
    weights = dist.Categorical(logits=params.log_weights)
    return dist.MixtureSameFamily(weights, params.components())


@_exact_products
def log_evidence(params: Mixture, x: Observation) -> Float[Array, ""]:
    """log p(x) in nats, for one x."""
    return logsumexp(_log_joint(params, x))


def responsibilities(params: Mixture, x: Observation) -> Float[Array, " component"]:
    """p(k | x), summing to 1, for one x."""
    return posterior(params, x).probs


@_exact_products
def posterior(params: Mixture, x: Observation) -> dist.Distribution:
    """p(k | x) as a Categorical, for one x."""
    return dist.Categorical(logits=_log_joint(params, x))


@_exact_products
def completion(params: Mixture, x: Observation, missing: Bool[Array, " dim"]) -> Completion:
    """p(x_missing | x_observed) = sum_k p(k | x_observed) p(x_missing | x_observed, k), for one x.

    Args:
        params: the mixture.
        x: one observation; its values where `missing` are not read and may be NaN.
        missing: True where x was not observed.

    Returns:
        A distribution over x; with everything missing it is p(x).
    """
    components = condition(params.components(), x, missing)
    weights = dist.Categorical(logits=params.log_weights + components.log_prob)
    return Completion(dist.MixtureSameFamily(weights, components.law), x, missing)


def _log_joint(params, x) -> Float[Array, " component"]:
    return params.log_weights + params.components().log_prob(x)


@partial(jax.jit, static_argnums=2)
def _sample(params, key, num) -> Num[Array, "num dim"]:
    return distribution(params).sample(key, (num,))


@jax.jit
def _batch_log_evidence(params, x):
    return jax.vmap(log_evidence, (None, 0))(params, x)


@partial(jax.jit, static_argnums=(5, 6))
@_exact_products
def _fit(keys, x, smoothing, tolerance, num_iterations, num_components, family) -> Mixture:
    def start(key):
        return family.maximise(first_responsibilities(key, x, num_components), x, smoothing)

    return best_climb(
        lambda params: em_step(params, x, smoothing),
        jax.vmap(start)(keys),
        tolerance=tolerance,
        num_iterations=num_iterations,
    )


def _log_probs_by_component(params, x):
    # One component at a time: all at once would hold [num, component, dim].
    return jax.lax.map(lambda one: one.components().log_prob(x), params).T


def _cholesky_of_square(root):
    """The Cholesky factor of root root', without forming it: QR stays exact near the floor."""
    upper = jnp.linalg.qr(jnp.swapaxes(root, -1, -2), mode="r")
    sign = jnp.sign(jnp.diagonal(upper, axis1=-2, axis2=-1))
    return jnp.swapaxes(sign[..., None] * upper, -1, -2)
