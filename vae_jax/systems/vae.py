"""The VAE on any objective, and the linear VAE: an encoder and a decoder trained together.

The builders are cached, and the likelihood and guide of a fitted model are `Partial`s over
functions that they share: a model restored by a fresh builder call runs through engines compiled
before.
"""

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.tree_util import Partial
from numpyro.distributions.kl import kl_divergence

from bayes_jax.annealing import annealed_model
from bayes_jax.errors import InputError
from bayes_jax.exact import linear_gaussian
from bayes_jax.model import LatentModel
from vae_jax import posteriors
from vae_jax.configs import (
    LinearVAEConfig,
    NetworkConfig,
    ObservationSpec,
    PosteriorConfig,
    PriorConfig,
    VAEConfig,
)
from vae_jax.likelihoods import make_head
from vae_jax.likelihoods.head import positive_scale, unconstrained_scale
from vae_jax.networks import make_networks, with_output_bias
from vae_jax.objectives import Terms, make_objective
from vae_jax.objectives.units import unit_terms
from vae_jax.posteriors import make_posterior
from vae_jax.priors import make_prior
from vae_jax.systems.base import System
from vae_jax.systems.gradient import gradient_system


class Family(NamedTuple):
    """How params make a model and its guide.

    Attributes:
        init: `(key, batch) -> params`.
        latent: `params -> LatentModel`.
        guide: `params -> Guide`.
    """

    init: Callable
    latent: Callable
    guide: Callable


@functools.cache
def build_vae(config: VAEConfig, spec: ObservationSpec) -> System:
    """The seed VAE (Kingma, Welling 2014, arXiv 1312.6114), on whatever objective its config names.

    Args:
        config: the networks and the objective.
        spec: the observation.

    Returns:
        A gradient system; its evidence is annealed from the guide.
    """
    family, in_training = (
        amortized_family(
            config.latent_dim, config.hidden_dims, network, config.posterior, config.prior, spec
        )
        for network in (replace(config.network, dtype="float32"), config.network)
    )
    objective = make_objective(config.objective)

    def terms(family, params, key, x, step):
        return objective(key, family.latent(params), family.guide(params), x, step)

    def of_units(params, key, x):
        return unit_terms(key, family.guide(params)(x), family.latent(params).prior)

    def generative(params):
        return annealed_model(family.latent(params), guide=family.guide(params))

    return gradient_system(
        init=family.init,
        terms=functools.partial(terms, family),
        generative=generative,
        optimizer=config.optimizer,
        step_terms=functools.partial(terms, in_training),
        unit_terms=of_units,
    )


@functools.cache
def amortized_family(
    latent_dim: int,
    hidden_dims: tuple[int, ...],
    network: NetworkConfig,
    posterior: PosteriorConfig,
    prior: PriorConfig,
    spec: ObservationSpec,
) -> Family:
    """Encoder and decoder, mirror images of each other, with the parts that a config names.

    Whatever they are trained on, equal networks share their functions.

    Args:
        latent_dim: L.
        hidden_dims: widths of the encoder's dense layers; the decoder has them reversed.
        network: their bodies.
        posterior: the family of q(z | x).
        prior: the family of p(z).
        spec: the observation, which chooses the decoder's head.

    Returns:
        The family; its params are {"encoder", "posterior", "prior", "decoder", "head"}.
    """
    head = make_head(spec)
    q = make_posterior(posterior, latent_dim)
    p = make_prior(prior, latent_dim, spec)
    encoder, decoder = make_networks(
        network,
        hidden_dims,
        spec,
        num_encoder_features=q.num_features,
        num_decoder_features=head.num_features,
    )

    def init(key, batch):
        _check_dim(batch, spec)
        key_encoder, key_decoder, key_posterior, key_prior = jax.random.split(key, 4)
        decoder_params = decoder.init(key_decoder, jnp.zeros(latent_dim))
        return {
            "encoder": encoder.init(key_encoder, jnp.zeros(spec.dim)),
            "posterior": q.initial_params(key_posterior),
            "prior": p.initial_params(key_prior, batch),
            "decoder": with_output_bias(decoder_params, head.initial_features(batch)),
            "head": head.initial_params(batch),
        }

    def decode(params, z):
        return head.distribution(decoder.apply(params["decoder"], z), params["head"])

    def encode(params, x):
        features = encoder.apply(params["encoder"], head.inputs(x))
        return q.distribution(features, params["posterior"])

    def guide(params):
        return Partial(encode, {name: params[name] for name in ("encoder", "posterior")})

    def latent(params):
        likelihood = Partial(decode, {name: params[name] for name in ("decoder", "head")})
        return LatentModel(p.distribution(params["prior"], guide(params)), likelihood)

    return Family(init, latent, guide)


@functools.cache
def build_linear_vae(config: LinearVAEConfig, spec: ObservationSpec) -> System:
    """p(x | z) = N(W z + mean, s^2 I), q(z | x) = N(V (x - mean), diag(scale^2)).

    Its global optimum is PPCA: there the columns of W are orthogonal, so that a diagonal q is the
    exact posterior (Lucas, Tucker, Grosse, Norouzi 2019, arXiv 1911.02469). Training maximises the
    ELBO in closed form, so nothing but the order of the batches is random.

    Args:
        config: the latent dimension.
        spec: the observation, with a Gaussian head.

    Returns:
        A gradient system; its evidence and posterior are exact.

    Raises:
        InputError: the head is not Gaussian.
    """
    if spec.head != "gaussian":
        raise InputError(f"linear_vae on a {spec.head} head: expected observation gaussian")
    min_scale = spec.min_variance**0.5

    def init(key, batch):
        _check_dim(batch, spec)
        scale = jnp.sqrt(jnp.mean(jnp.var(batch, axis=0)))
        loading = 0.1 * scale * jax.random.normal(key, (spec.dim, config.latent_dim))
        return {
            "loading": loading,
            "mean": jnp.mean(batch, axis=0),
            "scale": unconstrained_scale(scale, min_scale=min_scale),
            "encoder": {"kernel": loading.T, "scale": jnp.zeros(config.latent_dim)},
        }

    def exact_params(params):
        variance = positive_scale(params["scale"], min_scale=min_scale) ** 2
        return linear_gaussian.LinearGaussian(
            params["loading"], params["mean"], jnp.broadcast_to(variance, spec.dim)
        )

    def terms(params, key, x, step):
        del key, step
        return linear_elbo_terms(exact_params(params), _linear_guide(params), x)

    def generative(params):
        exact = linear_gaussian.generative(exact_params(params))
        return exact._replace(guide=_linear_guide(params))

    return gradient_system(init=init, terms=terms, generative=generative)


def linear_elbo_terms(params, guide, x) -> Terms:
    """The ELBO of a linear-Gaussian model under a diagonal Gaussian guide, in closed form.

    E_q[log p(x | z)] = log N(x; W m + mean, V) - (1/2) sum_u q_u |V^(-1/2) w_u|^2, with m and q the
    mean and variance of q(z | x), V the noise variance and w_u the columns of W.

    Args:
        params: a `linear_gaussian.LinearGaussian`.
        guide: x -> q(z | x).
        x: one observation `[dim]`.

    Returns:
        The parts in nats.
    """
    posterior = guide(x)
    latent = linear_gaussian.latent_model(params)
    column_norms = jnp.sum(params.loading**2 / params.variance[:, None], axis=0)
    reconstruction = latent.likelihood(posterior.mean).log_prob(x)
    reconstruction -= 0.5 * jnp.sum(posterior.variance * column_norms)
    kl = kl_divergence(posterior, latent.prior)
    return Terms(reconstruction - kl, reconstruction - kl, reconstruction, kl)


def _check_dim(batch, spec: ObservationSpec) -> None:
    if batch.shape[1:] != (spec.dim,):
        raise InputError(
            f"x has shape {batch.shape}, the system is built for [batch, {spec.dim}]: expected as "
            "many pixels as the spec says"
        )


def _linear_guide(params) -> Partial:
    return Partial(_linear_encode, {"mean": params["mean"], **params["encoder"]})


def _linear_encode(params, x):
    return posteriors.normal(params["kernel"] @ (x - params["mean"]), params["scale"])
