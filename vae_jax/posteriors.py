"""Encoder features -> q(z | x), for one x.

A `Posterior` says how many features it reads, what distribution they make, and what it learns
beside them, the same for every x. `make_posterior` is the one table of them.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from bayes_jax.transports import (
    AffineCoupling,
    Autoregressive,
    Planar,
    PlanarWeights,
    initial_autoregressive,
    initial_coupling,
)
from vae_jax.configs import PosteriorConfig

MIN_SCALE = 1e-4
"""Floor of every posterior scale: below any useful one, above where its logarithm is lost."""


class Posterior(NamedTuple):
    """A family of q(z | x), amortized.

    Attributes:
        num_features: how many features it reads.
        distribution: features `[num_features]` and its own params -> q(z | x), event `[latent]`.
        initial_params: key -> what it learns beside the features.
    """

    num_features: int
    distribution: Callable[[Array, PyTree], dist.Distribution]
    initial_params: Callable[[PRNGKeyArray], PyTree]


@functools.cache
def make_posterior(config: PosteriorConfig, latent_dim: int) -> Posterior:
    """The family that a config names; equal arguments share one object.

    Args:
        config: which.
        latent_dim: of z.
    """
    return POSTERIORS[config.name](config, latent_dim)


def mean_field(features: Float[Array, " features"]) -> dist.Distribution:
    """q(z | x) = N(loc, diag(scale^2)), with scale = MIN_SCALE + softplus(unconstrained).

    Args:
        features: `[2 * latent]`, loc followed by the unconstrained scale.

    Returns:
        A distribution with event shape `[latent]`.
    """
    loc, unconstrained = jnp.split(features, 2)
    return normal(loc, unconstrained)


def normal(
    loc: Float[Array, " latent"], unconstrained: Float[Array, " latent"]
) -> dist.Distribution:
    """N(loc, diag(scale^2)) with scale = MIN_SCALE + softplus(unconstrained)."""
    return dist.Normal(loc, MIN_SCALE + jax.nn.softplus(unconstrained)).to_event(1)


def full_rank(features: Float[Array, " features"], latent_dim: int) -> dist.Distribution:
    """q(z | x) = N(loc, S (I + lower) (I + lower)^T S), S the scales of `mean_field`.

    Args:
        features: `[2 * latent + latent (latent - 1) / 2]`: loc, unconstrained scale, lower.
        latent_dim: of z.
    """
    loc, unconstrained, lower = jnp.split(features, [latent_dim, 2 * latent_dim])
    rows = jnp.tril_indices(latent_dim, -1)
    factor = jnp.eye(latent_dim).at[rows].set(lower)
    scale = MIN_SCALE + jax.nn.softplus(unconstrained)
    return dist.MultivariateNormal(loc, scale_tril=scale[:, None] * factor)


def planar_flow(
    features: Float[Array, " features"], latent_dim: int, num_layers: int
) -> dist.Distribution:
    """`mean_field` bent by planar maps whose weights are features (arXiv 1505.05770)."""
    base, rest = jnp.split(features, [2 * latent_dim])
    layers = [
        Planar(PlanarWeights(layer[:latent_dim], layer[latent_dim:-1], layer[-1]))
        for layer in rest.reshape(num_layers, 2 * latent_dim + 1)
    ]
    return dist.TransformedDistribution(mean_field(base), layers)


def conditional_flow(
    make_map: Callable, features: Float[Array, " features"], weights: list, latent_dim: int
) -> dist.Distribution:
    """`mean_field` bent by maps whose weights all x share; features move their hidden units.

    The context of Kingma et al. 2016 (arXiv 1606.04934).

    Args:
        make_map: `(weights, *, backwards) -> Transform`.
        features: `[2 * latent + num_layers * hidden]`.
        weights: of each layer.
        latent_dim: of z.
    """
    base, rest = jnp.split(features, [2 * latent_dim])
    layers = [
        make_map(layer._replace(hidden_bias=layer.hidden_bias + context), backwards=bool(index % 2))
        for index, (layer, context) in enumerate(
            zip(weights, rest.reshape(len(weights), -1), strict=True)
        )
    ]
    return dist.TransformedDistribution(mean_field(base), layers)


def _mean_field(config: PosteriorConfig, latent_dim: int) -> Posterior:
    del config
    return _without_params(2 * latent_dim, mean_field)


def _full_rank(config: PosteriorConfig, latent_dim: int) -> Posterior:
    del config
    num_features = 2 * latent_dim + latent_dim * (latent_dim - 1) // 2
    return _without_params(num_features, functools.partial(full_rank, latent_dim=latent_dim))


def _planar(config: PosteriorConfig, latent_dim: int) -> Posterior:
    make = functools.partial(planar_flow, latent_dim=latent_dim, num_layers=config.num_layers)
    return _without_params(2 * latent_dim + config.num_layers * (2 * latent_dim + 1), make)


def _without_params(num_features: int, make: Callable) -> Posterior:
    def distribution(features, params):
        del params
        return make(features)

    return Posterior(num_features, distribution, lambda key: {})


def _conditional(initial_weights: Callable, make_map: Callable) -> Callable:
    def make(config: PosteriorConfig, latent_dim: int) -> Posterior:
        def distribution(features, params):
            return conditional_flow(make_map, features, params, latent_dim)

        def initial_params(key):
            keys = jax.random.split(key, config.num_layers)
            return [initial_weights(key, latent_dim, config.hidden_dim) for key in keys]

        num_features = 2 * latent_dim + config.num_layers * config.hidden_dim
        return Posterior(num_features, distribution, initial_params)

    return make


POSTERIORS: dict[str, Callable[[PosteriorConfig, int], Posterior]] = {
    "mean_field": _mean_field,
    "full_rank": _full_rank,
    "planar": _planar,
    "coupling": _conditional(initial_coupling, AffineCoupling),
    "iaf": _conditional(initial_autoregressive, Autoregressive),
}
"""name -> what makes the family of a config and a latent dimension."""
