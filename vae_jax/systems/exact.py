"""Systems whose evidence is exact: PPCA in closed form, factor analysis and mixtures by EM.

They wrap `bayes_jax.exact`; their state is its params.
"""

import functools

import jax.numpy as jnp

from bayes_jax.errors import InputError
from bayes_jax.exact import linear_gaussian, mixture
from vae_jax.configs import FactorAnalysisConfig, MixtureConfig, ObservationSpec, PPCAConfig
from vae_jax.systems.base import System


@functools.cache
def build_ppca(config: PPCAConfig, spec: ObservationSpec) -> System:
    """Probabilistic PCA at its maximum likelihood, in closed form.

    Args:
        config: the latent dimension.
        spec: the observation, with a Gaussian head.

    Returns:
        An exact system.

    Raises:
        InputError: the head is not Gaussian.
    """
    return _linear_gaussian("ppca", "isotropic", config, spec)


@functools.cache
def build_factor_analysis(config: FactorAnalysisConfig, spec: ObservationSpec) -> System:
    """Factor analysis, one noise variance per pixel, by EM.

    Args:
        config: the latent dimension.
        spec: the observation, with a Gaussian head.

    Returns:
        An exact system.

    Raises:
        InputError: the head is not Gaussian.
    """
    return _linear_gaussian("factor_analysis", "diagonal", config, spec)


@functools.cache
def build_mixture(config: MixtureConfig, spec: ObservationSpec) -> System:
    """A Bernoulli or Gaussian mixture, as the head asks, by EM.

    Args:
        config: the number of components.
        spec: the observation.

    Returns:
        An exact system.
    """

    def fit(key, x):
        return mixture.fit_params(
            key,
            x,
            num_components=config.num_components,
            likelihood=spec.head,
            min_variance=spec.min_variance,
        )

    def init(key, batch):
        del key
        weights = jnp.full(config.num_components, -jnp.log(config.num_components))
        pixels = jnp.zeros((config.num_components, batch.shape[1]))
        if spec.head == "bernoulli":
            return mixture.BernoulliMixture(weights, pixels)
        return mixture.DiagonalGaussianMixture(weights, pixels, jnp.ones_like(pixels))

    return System(generative=mixture.generative, init=init, fit=fit)


def _linear_gaussian(name: str, noise: str, config: PPCAConfig, spec: ObservationSpec) -> System:
    if spec.head != "gaussian":
        raise InputError(f"{name} on a {spec.head} head: expected observation gaussian")

    def fit(key, x):
        del key  # The maximum is found from one fixed start.
        return linear_gaussian.fit_params(
            x, latent_dim=config.latent_dim, noise=noise, min_variance=spec.min_variance
        )

    def init(key, batch):
        del key
        mean = jnp.mean(batch, axis=0)
        loading = jnp.zeros((spec.dim, config.latent_dim))
        return linear_gaussian.LinearGaussian(loading, mean, jnp.ones_like(mean))

    return System(generative=linear_gaussian.generative, init=init, fit=fit)
