"""Systems whose evidence is exact: PPCA in closed form; by EM factor analysis, mixtures (of factor
analysers too), an HMM.

They wrap `bayes_jax.exact`; their state is its params.
"""

import functools

import jax.numpy as jnp
import numpyro.distributions as dist
from numpyro.distributions import constraints
from numpyro.distributions.transforms import ReshapeTransform

from bayes_jax import density
from bayes_jax.errors import InputError
from bayes_jax.exact import factor_mixture, hmm, linear_gaussian, mixture
from vae_jax.configs import (
    FactorAnalysisConfig,
    HMMConfig,
    MixtureConfig,
    MixtureOfFactorAnalysersConfig,
    ObservationSpec,
    PPCAConfig,
)
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


class FlatRows(dist.TransformedDistribution):
    """Bits row by row as one vector.

    Attributes:
        base_dist: of the rows.
    """

    def __init__(self, rows: hmm.HiddenMarkov, width: int):
        shape = (rows.num_steps, width)
        flatten = ReshapeTransform((rows.num_steps * width,), shape)
        super().__init__(rows, flatten)

    @property
    def support(self):
        """Bits, which the transform alone does not say."""
        return constraints.independent(constraints.boolean, 1)


@functools.cache
def build_mixture_of_factor_analysers(
    config: MixtureOfFactorAnalysersConfig, spec: ObservationSpec
) -> System:
    """A mixture of factor analysers by EM.

    Args:
        config: the number of components and the latent dimension of each.
        spec: the observation, with a Gaussian head.

    Returns:
        An exact system.

    Raises:
        InputError: the head is not Gaussian.
    """
    _check_gaussian("mixture_of_factor_analysers", spec)

    def fit(key, x):
        return factor_mixture.fit_params(
            key,
            x,
            num_components=config.num_components,
            latent_dim=config.latent_dim,
            min_variance=spec.min_variance,
        )

    def init(key, batch):
        del key
        weights = jnp.full(config.num_components, -jnp.log(config.num_components))
        mean = jnp.tile(jnp.mean(batch, axis=0), (config.num_components, 1))
        loading = jnp.zeros((*mean.shape, config.latent_dim))
        return factor_mixture.FactorMixture(weights, loading, mean, jnp.ones_like(mean))

    return System(generative=factor_mixture.generative, init=init, fit=fit)


@functools.cache
def build_hmm(config: HMMConfig, spec: ObservationSpec) -> System:
    """A hidden Markov model whose steps are the rows of an image, by EM.

    Args:
        config: the number of states.
        spec: the observation, bits; without an image shape every bit is a step.

    Returns:
        An exact system.

    Raises:
        InputError: the head is not Bernoulli.
    """
    if spec.head != "bernoulli":
        raise InputError(f"hmm on a {spec.head} head: expected observation bernoulli")
    shape = spec.image_shape or (spec.dim, 1)

    def fit(key, x):
        return hmm.fit_params(key, x.reshape(-1, *shape), num_states=config.num_states)

    def init(key, batch):
        del key, batch
        num = config.num_states
        return hmm.BernoulliHMM(jnp.zeros(num), jnp.zeros((num, num)), jnp.zeros((num, shape[1])))

    def generative(params):
        return density.generative(FlatRows(hmm.HiddenMarkov(params, shape[0]), shape[1]))

    return System(generative=generative, init=init, fit=fit)


def _linear_gaussian(name: str, noise: str, config: PPCAConfig, spec: ObservationSpec) -> System:
    _check_gaussian(name, spec)

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


def _check_gaussian(name: str, spec: ObservationSpec) -> None:
    if spec.head != "gaussian":
        raise InputError(f"{name} on a {spec.head} head: expected observation gaussian")
