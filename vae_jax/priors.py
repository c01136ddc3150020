"""Priors p(z) over latent vectors: fixed, learned, or made of what the encoder says.

A `Prior` makes its distribution from params and, for the VampPrior, from the guide. `make_prior` is
the one table of them.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from bayes_jax.model import Guide
from bayes_jax.transports import AffineCoupling, initial_coupling
from vae_jax.configs import ObservationSpec, PriorConfig
from vae_jax.posterior_mixture import PosteriorMixture

# Of the components' scales relative to the standard normal: together they start about as wide.
_INITIAL_SPREAD, _INITIAL_SCALE = 0.7, 0.7
# How far pseudo-inputs start from black and white, in shares of the range.
_MARGIN = 0.05


class Prior(NamedTuple):
    """A family of p(z).

    Attributes:
        initial_params: `(key, batch) -> params`, a batch of observations.
        distribution: params and the guide -> p(z), event shape `[latent]`.
    """

    initial_params: Callable[[PRNGKeyArray, Array], PyTree]
    distribution: Callable[[PyTree, Guide], dist.Distribution]


@functools.cache
def make_prior(config: PriorConfig, latent_dim: int, spec: ObservationSpec) -> Prior:
    """The family that a config names; equal arguments share one object.

    Args:
        config: which.
        latent_dim: of z.
        spec: the observation, for pseudo-inputs.
    """
    return PRIORS[config.name](config, latent_dim, spec)


def standard_normal(latent_dim: int) -> dist.Distribution:
    """p(z) = N(0, I), event shape `[latent_dim]`."""
    return dist.Normal(0.0, 1.0).expand([latent_dim]).to_event(1)


def mixture(
    logits: Float[Array, " component"],
    loc: Float[Array, "component latent"],
    log_scale: Float[Array, "component latent"],
) -> dist.Distribution:
    """A mixture of diagonal normals."""
    components = dist.Normal(loc, jnp.exp(log_scale)).to_event(1)
    return dist.MixtureSameFamily(dist.CategoricalLogits(logits), components)


def vamp(
    logits: Float[Array, " component"],
    unconstrained: Float[Array, "component dim"],
    guide: Guide,
    *,
    pixels: Callable[[Array], Array],
) -> dist.Distribution:
    """A mixture of what the guide makes of learned pseudo-inputs.

    Tomczak, Welling 2018, *VAE with a VampPrior*, arXiv 1705.07120, equation 8; with weights
    learned.

    Args:
        logits: of the weights.
        unconstrained: logits of the pseudo-inputs, observations that were never seen.
        guide: x -> q(z | x).
        pixels: takes (0, 1) to where observations are.
    """
    return PosteriorMixture(logits, jax.vmap(guide)(pixels(jax.nn.sigmoid(unconstrained))))


def flow(weights: list, latent_dim: int) -> dist.Distribution:
    """N(0, I) through affine couplings (arXiv 1605.08803)."""
    layers = [
        AffineCoupling(layer, backwards=bool(index % 2)) for index, layer in enumerate(weights)
    ]
    return dist.TransformedDistribution(standard_normal(latent_dim), layers)


def _standard_normal(config: PriorConfig, latent_dim: int, spec: ObservationSpec) -> Prior:
    del config, spec
    return Prior(lambda key, batch: {}, lambda params, guide: standard_normal(latent_dim))


def _mixture(config: PriorConfig, latent_dim: int, spec: ObservationSpec) -> Prior:
    del spec
    shape = (config.num_components, latent_dim)

    def initial_params(key, batch):
        del batch
        loc = _INITIAL_SPREAD * jax.random.normal(key, shape)
        log_scale = jnp.full(shape, jnp.log(_INITIAL_SCALE))
        return {"logits": jnp.zeros(shape[0]), "loc": loc, "log_scale": log_scale}

    return Prior(initial_params, lambda params, guide: mixture(**params))


def _vamp(config: PriorConfig, latent_dim: int, spec: ObservationSpec) -> Prior:
    del latent_dim
    # Most counts are far below the largest one: their logarithms are spread out.
    on_scale, off_scale = (lambda x: x,) * 2
    if spec.representation == "counts":
        on_scale, off_scale = jnp.log1p, jnp.expm1
    most = on_scale(spec.white)

    def initial_params(key, batch):
        # Observations of the data, of which there may be fewer, drawn in from where a sigmoid is
        # flat: pseudo-inputs are to learn.
        rows = jax.random.choice(key, len(batch), (config.num_components,))
        share = on_scale(jnp.asarray(batch, jnp.float32)[rows]) / most
        unconstrained = jax.scipy.special.logit(_MARGIN + (1 - 2 * _MARGIN) * share)
        return {"logits": jnp.zeros(config.num_components), "unconstrained": unconstrained}

    def pixels(share):
        return off_scale(most * share)

    return Prior(initial_params, lambda params, guide: vamp(**params, guide=guide, pixels=pixels))


def _flow(config: PriorConfig, latent_dim: int, spec: ObservationSpec) -> Prior:
    del spec

    def initial_params(key, batch):
        del batch
        keys = jax.random.split(key, config.num_layers)
        return [initial_coupling(key, latent_dim, config.hidden_dim) for key in keys]

    return Prior(initial_params, lambda params, guide: flow(params, latent_dim))


PRIORS: dict[str, Callable[[PriorConfig, int, ObservationSpec], Prior]] = {
    "standard_normal": _standard_normal,
    "mixture": _mixture,
    "vamp": _vamp,
    "flow": _flow,
}
"""name -> what makes the family of a config, a latent dimension and an observation."""
