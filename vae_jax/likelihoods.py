"""Observation models: decoder features -> p(x | z), for one z.

A `Head` says how many features it reads, what distribution they make, and which features fit the
pixel means of the data before anything is learned. `make_head` is the one table of them.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jaxtyping import Array, Float, Num

from vae_jax.configs import ObservationSpec

MIN_PROBABILITY = 1e-3
"""Pixel means are clipped to [MIN_PROBABILITY, 1 - MIN_PROBABILITY] before their logit is taken."""


class Head(NamedTuple):
    """One observation model.

    Attributes:
        num_features: how many features it reads.
        distribution: features `[num_features]` -> p(x | z), event shape `[dim]`.
        initial_features: a batch x `[batch, dim]` -> features `[num_features]` that fit its means.
    """

    num_features: int
    distribution: Callable[[Array], dist.Distribution]
    initial_features: Callable[[Array], Array]


@functools.cache
def make_head(spec: ObservationSpec) -> Head:
    """The head that `spec` names; equal specs share one object.

    Args:
        spec: the observation.

    Returns:
        The head.
    """
    if spec.head == "bernoulli":
        return Head(spec.dim, bernoulli, bernoulli_features)
    min_scale = spec.min_variance**0.5
    return Head(
        2 * spec.dim,
        functools.partial(gaussian, min_scale=min_scale),
        functools.partial(gaussian_features, min_scale=min_scale),
    )


def bernoulli(logits: Float[Array, " dim"]) -> dist.Distribution:
    """Independent 0/1 pixels with these logits."""
    return dist.BernoulliLogits(logits).to_event(1)


def bernoulli_features(x: Num[Array | np.ndarray, "batch dim"]) -> Float[Array, " dim"]:
    """The logits of the clipped pixel means (Burda, Grosse, Salakhutdinov 2016, arXiv 1509.00519).

    Args:
        x: a batch of observations.

    Returns:
        Logits `[dim]`.
    """
    mean = jnp.mean(x, axis=0, dtype=jnp.float32)
    return jax.scipy.special.logit(jnp.clip(mean, MIN_PROBABILITY, 1 - MIN_PROBABILITY))


def gaussian(features: Float[Array, " features"], *, min_scale: float) -> dist.Distribution:
    """Independent normal pixels, each with a scale of its own: min_scale + softplus(unconstrained).

    Args:
        features: `[2 * dim]`, loc followed by the unconstrained scale.
        min_scale: floor of the scale, the square root of the least variance.

    Returns:
        A distribution with event shape `[dim]`.
    """
    loc, unconstrained = jnp.split(features, 2)
    return normal(loc, unconstrained, min_scale=min_scale)


def normal(
    loc: Float[Array, " dim"], unconstrained: Float[Array, "*dim"], *, min_scale: float
) -> dist.Distribution:
    """Independent normal pixels around `loc`.

    Args:
        loc: `[dim]`.
        unconstrained: `[dim]`, or `[]` for one scale shared by all pixels.
        min_scale: floor of the scale.

    Returns:
        A distribution with event shape `[dim]`.
    """
    scale = positive_scale(unconstrained, min_scale=min_scale)
    return dist.Normal(loc, jnp.broadcast_to(scale, loc.shape)).to_event(1)


def gaussian_features(
    x: Float[Array | np.ndarray, "batch dim"], *, min_scale: float
) -> Float[Array, " features"]:
    """The features at which `gaussian` has the pixel means and standard deviations of a batch.

    Args:
        x: a batch of observations.
        min_scale: floor of the scale.

    Returns:
        `[2 * dim]`.
    """
    scale = unconstrained_scale(jnp.std(x, axis=0), min_scale=min_scale)
    return jnp.concatenate([jnp.mean(x, axis=0), scale])


def positive_scale(
    unconstrained: Float[Array, "*dim"], *, min_scale: float
) -> Float[Array, "*dim"]:
    """scale = min_scale + softplus(unconstrained)."""
    return min_scale + jax.nn.softplus(unconstrained)


def unconstrained_scale(scale: Float[Array, "*dim"], *, min_scale: float) -> Float[Array, "*dim"]:
    """The inverse of `positive_scale`, kept finite near the floor."""
    excess = jnp.maximum(scale - min_scale, 0.1 * min_scale)
    return excess + jnp.log(-jnp.expm1(-excess))
