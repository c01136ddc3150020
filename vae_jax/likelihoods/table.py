"""The one table of heads."""

import functools
from collections.abc import Callable

import jax.numpy as jnp

from vae_jax.configs import ObservationSpec
from vae_jax.likelihoods import binary, counts, gaussian, levels
from vae_jax.likelihoods.head import Head, positive_scale


@functools.cache
def make_head(spec: ObservationSpec) -> Head:
    """The head that `spec` names; equal specs share one object.

    Args:
        spec: the observation.

    Returns:
        The head.
    """
    return HEADS[spec.head](spec)


def _bernoulli(spec: ObservationSpec) -> Head:
    return Head(spec.dim, _alone(binary.bernoulli), binary.bernoulli_features)


def _continuous_bernoulli(spec: ObservationSpec) -> Head:
    return Head(spec.dim, _alone(binary.continuous_bernoulli), binary.continuous_bernoulli_features)


def _gaussian(spec: ObservationSpec) -> Head:
    floor = {"min_scale": spec.min_variance**0.5}
    return Head(
        2 * spec.dim,
        _alone(gaussian.gaussian, **floor),
        functools.partial(gaussian.gaussian_features, **floor),
    )


def _gaussian_shared(spec: ObservationSpec) -> Head:
    floor = {"min_scale": spec.min_variance**0.5}

    def distribution(features, params):
        return gaussian.normal(features, positive_scale(params, **floor))

    return Head(
        spec.dim,
        distribution,
        gaussian.pixel_means,
        functools.partial(gaussian.shared_scale, **floor),
    )


def _gaussian_fixed(spec: ObservationSpec) -> Head:
    return Head(spec.dim, _alone(gaussian.normal, scale=spec.fixed_scale), gaussian.pixel_means)


def _discretized_logistic(spec: ObservationSpec) -> Head:
    return _of_levels(2, spec, levels.discretized_logistic, levels.discretized_logistic_features)


def _logistic_mixture(spec: ObservationSpec) -> Head:
    return _of_levels(
        3 * spec.num_components,
        spec,
        levels.logistic_mixture,
        levels.logistic_mixture_features,
        num_components=spec.num_components,
    )


def _categorical(spec: ObservationSpec) -> Head:
    return _of_levels(spec.num_levels, spec, levels.categorical, levels.categorical_features)


def _of_levels(num_per_pixel, spec, distribution, initial_features, **options) -> Head:
    options["num_levels"] = spec.num_levels
    return Head(
        num_per_pixel * spec.dim,
        _alone(distribution, **options),
        functools.partial(initial_features, **options),
        inputs=lambda x: x / spec.white,
    )


def _poisson(spec: ObservationSpec) -> Head:
    return Head(spec.dim, _alone(counts.poisson), counts.poisson_features, inputs=jnp.log1p)


def _negative_binomial(spec: ObservationSpec) -> Head:
    return Head(
        spec.dim,
        counts.negative_binomial,
        counts.poisson_features,
        counts.log_concentration,
        inputs=jnp.log1p,
    )


def _alone(distribution: Callable, **options) -> Callable:
    """A distribution of features, for a head that learns nothing beside them."""

    def of_features(features, params):
        del params
        return distribution(features, **options)

    return of_features


HEADS: dict[str, Callable[[ObservationSpec], Head]] = {
    "bernoulli": _bernoulli,
    "continuous_bernoulli": _continuous_bernoulli,
    "gaussian": _gaussian,
    "gaussian_shared": _gaussian_shared,
    "gaussian_fixed": _gaussian_fixed,
    "discretized_logistic": _discretized_logistic,
    "logistic_mixture": _logistic_mixture,
    "categorical": _categorical,
    "poisson": _poisson,
    "negative_binomial": _negative_binomial,
}
"""name -> what makes the head of a spec."""
