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
        return cls(_log_weights(counts), logit(probs))


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
        shares, log_weights = _shares(responsibilities)
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
        shares, log_weights = _shares(responsibilities)
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
    _check_support(family, x)
    _check_counts(x, num_components, num_restarts, num_iterations)
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
        _check_support(params, x)
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
    def expectation_maximization(key):
        start = family.maximise(_first_responsibilities(key, x, num_components), x, smoothing)

        def climb(state):
            params, value, _, num = state
            params, new_value = _em_step(params, x, smoothing)
            return params, new_value, new_value - value, num + 1

        def unfinished(state):
            return (state[2] >= tolerance) & (state[3] < num_iterations)

        infinity = jnp.asarray(jnp.inf, x.dtype)
        state = (start, -infinity, infinity, jnp.asarray(0))
        return jax.lax.while_loop(unfinished, climb, state)[:2]

    params, values = jax.vmap(expectation_maximization)(keys)
    return jax.tree.map(lambda leaf: leaf[jnp.argmax(values)], params)


def _em_step(params, x, smoothing):
    """New params, and the objective of the OLD ones in nats per observation."""
    log_joint = params.log_weights + params.log_probs(x)
    log_evidence = logsumexp(log_joint, axis=1)
    objective = jnp.mean(log_evidence) + params.log_prior(smoothing) / x.shape[0]
    responsibilities = jnp.exp(log_joint - log_evidence[:, None])
    return type(params).maximise(responsibilities, x, smoothing), objective


def _first_responsibilities(key, x, num_components) -> Float[Array, "num component"]:
    """Each x to the nearest of centres drawn far from each other (k-means++)."""

    def distance(centre):
        return jnp.sum((x - centre) ** 2, axis=1)

    def choose(nearest, key):
        centre = x[jax.random.categorical(key, jnp.log(nearest))]
        return jnp.minimum(nearest, distance(centre)), centre

    nowhere = jnp.full(x.shape[0], jnp.finfo(x.dtype).max)
    _, centres = jax.lax.scan(choose, nowhere, jax.random.split(key, num_components))
    nearest = jnp.argmin(jax.lax.map(distance, centres), axis=0)
    return jax.nn.one_hot(nearest, num_components, dtype=x.dtype)


def _shares(responsibilities):
    """Weights of the observations within each component, `[component, num]`, and log w_k."""
    counts = jnp.sum(responsibilities, axis=0)
    shares = responsibilities / jnp.maximum(counts, jnp.finfo(counts.dtype).tiny)
    return shares.T, _log_weights(counts)


def _log_weights(counts):
    # A component that has lost all its observations stays at a weight of next to nothing.
    counts = jnp.maximum(counts, jnp.finfo(counts.dtype).eps)
    return jnp.log(counts) - jnp.log(jnp.sum(counts))


def _log_probs_by_component(params, x):
    # One component at a time: all at once would hold [num, component, dim].
    return jax.lax.map(lambda one: one.components().log_prob(x), params).T


def _cholesky_of_square(root):
    """The Cholesky factor of root root', without forming it: QR stays exact near the floor."""
    upper = jnp.linalg.qr(jnp.swapaxes(root, -1, -2), mode="r")
    sign = jnp.sign(jnp.diagonal(upper, axis1=-2, axis2=-1))
    return jnp.swapaxes(sign[..., None] * upper, -1, -2)


def _check_support(family, x) -> None:
    inside = jnp.all(family.support(x), axis=-1)
    if not bool(jnp.all(inside)):
        expected = "0 and 1" if family.support is constraints.boolean else "finite numbers"
        raise InputError(
            f"x[{int(jnp.argmin(inside))}] holds something else than {expected}: "
            f"{int(jnp.sum(~inside))} of {len(x)} observations are not usable"
        )


def _check_counts(x, num_components, num_restarts, num_iterations) -> None:
    num = x.shape[0]
    if not 1 <= num_components <= num:
        raise InputError(f"num_components is {num_components}: expected 1 to {num}, x's number")
    for name, value in (("num_restarts", num_restarts), ("num_iterations", num_iterations)):
        if value < 1:
            raise InputError(f"{name} is {value}: expected at least 1")
