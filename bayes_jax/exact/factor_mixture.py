"""Mixtures of factor analysers by EM: exact evidence, exact posterior over (component, z).

The model is k ~ w, z ~ N(0, I), x | z, k ~ N(W_k z + mean_k, diag(variance_k)), each component a
`linear_gaussian` of its own. With k summed out, p(x | z) is a mixture and z a continuous latent for
the engines, whose posterior, a mixture of Gaussians, may have several modes. Ghahramani and Hinton
share one variance; each component has its own here, for a pixel may be dark in one digit only.
The mean of p(x | z) averages over k, so that it says little of an image; given k it does.

References:
    Ghahramani, Hinton 1996, "The EM algorithm for mixtures of factor analyzers", CRG-TR-96-1,
    https://www.cs.toronto.edu/~hinton/absps/tr96-1.html; McLachlan, Peel 2000, "Mixtures of factor
    analyzers", in "Finite mixture models", https://doi.org/10.1002/0471721182.ch8.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax.scipy.special import logsumexp
from jax.tree_util import Partial
from jaxtyping import Array, Bool, Float, Num, PRNGKeyArray
from numpyro.distributions import constraints

from bayes_jax.errors import InputError
from bayes_jax.estimates import exact_evidence
from bayes_jax.exact import linear_gaussian
from bayes_jax.exact.climb import best_climb
from bayes_jax.exact.linear_gaussian import LinearGaussian
from bayes_jax.exact.mixture_em import (
    check_counts,
    check_support,
    em_step,
    first_responsibilities,
    shares_of,
)
from bayes_jax.missing import NO_NATS, Completion
from bayes_jax.model import GenerativeModel, LatentModel, check_observations, simulate

Observation = Num[Array | np.ndarray, " dim"]
Observations = Num[Array | np.ndarray, "num dim"]

_exact_products = jax.default_matmul_precision("highest")


class FactorMixture(NamedTuple):
    """Parameters of x = W_k z + mean_k + noise.

    Attributes:
        log_weights: log w_k, normalised, `[component]`.
        loading: W_k, `[component, dim, latent]`.
        mean: `[component, dim]`.
        variance: of the noise, `[component, dim]`.
    """

    log_weights: Float[Array, " component"]
    loading: Float[Array, "component dim latent"]
    mean: Float[Array, "component dim"]
    variance: Float[Array, "component dim"]

    def analysers(self) -> LinearGaussian:
        """The components, their parameters stacked along a first axis."""
        return LinearGaussian(self.loading, self.mean, self.variance)

    def log_probs(self, x):
        """log p(x | k) of a batch, `[num, component]`."""
        # One component at a time: all at once would hold [num, component, dim].
        return jax.lax.map(lambda one: linear_gaussian.log_evidences(one, x), self.analysers()).T

    def log_prior(self, min_variance):
        """Flat above the floor."""
        return 0.0

    def maximise(self, responsibilities, x, min_variance):
        """The M step: weighted means, then a step of factor analysis around each of them."""
        shares, log_weights = shares_of(responsibilities)

        def refit(analyser, share):
            mean = share @ x
            centred = x - mean
            return linear_gaussian.em_step(
                analyser._replace(mean=mean),
                lambda matrix: (share[:, None] * centred).T @ (centred @ matrix),
                share @ centred**2,
                min_variance,
            )

        return FactorMixture(
            log_weights, *jax.lax.map(lambda c: refit(*c), (self.analysers(), shares))
        )


def fit(
    key: PRNGKeyArray, x: Observations, *, num_components: int, latent_dim: int, **options
) -> GenerativeModel:
    """A mixture fitted by EM, ready for use: `generative(fit_params(key, x, ...))`.

    Args:
        key: a PRNG key, of the starts.
        x: observations.
        num_components: number of components.
        latent_dim: number of latent dimensions.
        **options: the others of `fit_params`.
    """
    return generative(
        fit_params(key, x, num_components=num_components, latent_dim=latent_dim, **options)
    )


def fit_params(
    key: PRNGKeyArray,
    x: Observations,
    *,
    num_components: int,
    latent_dim: int,
    min_variance: float = 1e-6,
    num_restarts: int = 4,
    num_iterations: int = 500,
    tolerance: float = 1e-4,
) -> FactorMixture:
    """EM from several k-means++ starts at once; the best is kept.

    A start is PPCA of each cluster, from its covariance. A step takes the means to their maximum
    with z summed out, then the loadings and the variances one step of parameter-expanded EM up: the
    likelihood never falls. Each component of a step costs O(num dim latent + dim latent^2), and
    nothing of size dim x dim is made.

    Args:
        key: a PRNG key, of the starts.
        x: observations.
        num_components: number of components.
        latent_dim: number of latent dimensions, below dim.
        min_variance: floor of the noise variance.
        num_restarts: starts, run together; memory is proportional to it.
        num_iterations: most EM steps.
        tolerance: EM stops when a step gains less than so many nats per observation.

    Returns:
        The parameters of the start with the highest likelihood.

    Raises:
        InputError: for data or options that cannot be used.

    References:
        Meng, van Dyk 1997, "The EM algorithm - an old folk-song sung to a fast new tune", for steps
        whose missing data differ, https://doi.org/10.1111/1467-9868.00082.
    """
    x = jnp.asarray(x, jnp.result_type(float))
    check_support(constraints.real, x)
    check_counts(len(x), num_components, num_restarts, num_iterations)
    if not 1 <= latent_dim < x.shape[1]:
        raise InputError(
            f"latent_dim is {latent_dim}: expected 1 to {x.shape[1] - 1}, below x's dim"
        )
    if not min_variance > 0:
        raise InputError(f"min_variance is {min_variance}: expected a positive number")
    keys = jax.random.split(key, num_restarts)
    return _fit(keys, x, min_variance, tolerance, num_iterations, num_components, latent_dim)


def generative(params: FactorMixture) -> GenerativeModel:
    """The fitted model from its parameters, for instance those of a checkpoint."""
    params = FactorMixture(*params)
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


def latent_model(params: FactorMixture) -> LatentModel:
    """The model as p(z) p(x | z), the component summed out, for the engines."""
    loc = jnp.zeros_like(params.loading[0, 0])
    prior = dist.Normal(loc, jnp.ones_like(loc)).to_event(1)
    return LatentModel(prior, Partial(likelihood, params))


@_exact_products
def likelihood(params: FactorMixture, z: Float[Array, " latent"]) -> dist.MixtureSameFamily:
    """p(x | z) = sum_k w_k N(W_k z + mean_k, diag(variance_k)), for one z."""
    given_component = dist.Normal(params.loading @ z + params.mean, jnp.sqrt(params.variance))
    weights = dist.Categorical(logits=params.log_weights)
    return dist.MixtureSameFamily(weights, given_component.to_event(1))


@_exact_products
def posterior(params: FactorMixture, x: Observation) -> dist.MixtureSameFamily:
    """p(z | x) = sum_k p(k | x) p(z | x, k), for one x, and with it p(k, z | x).

    Args:
        params: the model.
        x: one observation.

    Returns:
        The exact posterior, event shape `[latent]`. Its `mixing_distribution` is p(k | x), its
        `component_distribution` p(z | x, k), and `component_log_probs(z)` log p(k, z | x) of every
        k; `z, [k] = sample_with_intermediates(key, (num,))` draws both.
    """

    def given_component(analyser):
        exact = linear_gaussian.posterior(analyser, x)
        return exact.loc, exact.scale_tril

    loc, scale_tril = jax.vmap(given_component)(params.analysers())
    return dist.MixtureSameFamily(
        dist.Categorical(logits=_log_joint(params, x)),
        dist.MultivariateNormal(loc, scale_tril=scale_tril),
    )


@_exact_products
def log_evidence(params: FactorMixture, x: Observation) -> Float[Array, ""]:
    """log p(x) = log sum_k w_k N(x; mean_k, W_k W_k' + diag(variance_k)) in nats, for one x."""
    return logsumexp(_log_joint(params, x))


@_exact_products
def completion(params: FactorMixture, x: Observation, missing: Bool[Array, " dim"]) -> Completion:
    """p(x_missing | x_observed) = sum_k p(k | x_observed) p(x_missing | x_observed, k), for one x.

    Args:
        params: the model.
        x: one observation; its values where `missing` are not read and may be NaN.
        missing: True where x was not observed.

    Returns:
        A distribution over x; with everything missing it is p(x).
    """

    def given_component(analyser):
        found = linear_gaussian.conditional(analyser, x, missing)
        variance = jnp.where(missing, found.noise_variance, NO_NATS)
        return _log_observed(analyser, x, missing), found.mean, found.factor, variance

    log_probs, mean, factor, variance = jax.vmap(given_component)(params.analysers())
    law = dist.MixtureSameFamily(
        dist.Categorical(logits=params.log_weights + log_probs),
        dist.LowRankMultivariateNormal(mean, factor, variance),
    )
    return Completion(law, x, missing)


def _log_observed(analyser, x, missing):
    """log p(x_observed | k): what is missing is made an entry that adds no nats."""
    observed = LinearGaussian(
        jnp.where(missing[:, None], 0, analyser.loading),
        jnp.where(missing, 0, analyser.mean),
        jnp.where(missing, NO_NATS, analyser.variance),
    )
    return linear_gaussian.log_evidence(observed, jnp.where(missing, 0, x))


def _log_joint(params, x) -> Float[Array, " component"]:
    each = jax.vmap(linear_gaussian.log_evidence, (0, None))
    return params.log_weights + each(params.analysers(), x)


@jax.jit
@_exact_products
def _batch_log_evidence(params, x):
    return logsumexp(params.log_weights + params.log_probs(x), axis=1)


@partial(jax.jit, static_argnums=(5, 6))
@_exact_products
def _fit(keys, x, min_variance, tolerance, num_iterations, num_components, latent_dim):
    def start(key):
        return _start(x, first_responsibilities(key, x, num_components), min_variance, latent_dim)

    return best_climb(
        lambda params: em_step(params, x, min_variance),
        jax.vmap(start)(keys),
        tolerance=tolerance,
        num_iterations=num_iterations,
    )


def _start(x, responsibilities, min_variance, latent_dim) -> FactorMixture:
    """PPCA of each cluster."""
    shares, log_weights = shares_of(responsibilities)

    def of_cluster(share):
        mean = share @ x
        centred = x - mean
        covariance = (share[:, None] * centred).T @ centred
        return linear_gaussian.closed_form(mean, covariance, min_variance, latent_dim)

    return FactorMixture(log_weights, *jax.lax.map(of_cluster, shares))
