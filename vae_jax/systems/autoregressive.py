"""Autoregressive models: log p(x) is exact, and there is no latent to infer."""

import functools
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from bayes_jax import density
from bayes_jax.errors import InputError
from vae_jax.configs import AutoregressiveConfig, ObservationSpec
from vae_jax.likelihoods import make_head
from vae_jax.networks import with_output_bias
from vae_jax.networks.causal import MADE, CausalTransformer, GatedPixelCNN
from vae_jax.pixelwise import CausalBody, Pixelwise
from vae_jax.systems.base import System
from vae_jax.systems.gradient import gradient_system

# Images evaluated at once: a transformer attends from every pixel to every pixel.
_NUM_AT_ONCE = 64


class LogProb(NamedTuple):
    """What training maximises, for one x, in nats.

    Attributes:
        objective: log p(x).
    """

    objective: Float[Array, ""]


@functools.cache
def build_autoregressive(config: AutoregressiveConfig, spec: ObservationSpec) -> System:
    """A network of pixels in raster order under the head that the data ask for.

    Args:
        config: the network.
        spec: the observation.

    Returns:
        A gradient system whose evidence is exact.

    Raises:
        InputError: a PixelCNN of observations that are no images.
    """
    body, init = causal_family(config, spec)
    nothing = jnp.zeros(0)

    def init_params(key, batch):
        return init(key, batch, nothing)

    def terms(params, key, x, step):
        del key, step
        return LogProb(Pixelwise(params, nothing, body=body, dim=spec.dim).log_prob(x))

    def generative(params):
        return density.generative(Pixelwise(params, nothing, body=body, dim=spec.dim))

    return gradient_system(
        init=init_params,
        terms=terms,
        generative=generative,
        optimizer=config.optimizer,
        num_at_once=_NUM_AT_ONCE,
    )


@functools.cache
def causal_family(config: AutoregressiveConfig, spec: ObservationSpec) -> tuple:
    """The body that a config names, and `(key, batch, context) -> params` for it.

    Args:
        config: the network.
        spec: the observation.
    """
    head, one = make_head(spec), make_head(_one_pixel(spec))
    module = _module(config, spec, one.num_features)

    def init(key, batch, context):
        params = module.init(key, jnp.zeros(spec.dim), context)
        network = with_output_bias(params, head.initial_features(batch))
        return {"network": network, "head": head.initial_params(batch)}

    def pixel(features, params, index):
        return one.distribution(features, jax.tree.map(partial(_of_pixel, index), params))

    body = CausalBody(
        features=module.apply,
        start=partial(module.apply, method=module.start),
        advance=partial(module.apply, method=module.advance),
        pixels=head.distribution,
        pixel=pixel,
        inputs=head.inputs,
    )
    return body, init


def _module(config: AutoregressiveConfig, spec: ObservationSpec, num_per_pixel: int):
    if config.network == "made":
        return MADE(spec.dim, config.hidden_dims, num_per_pixel)
    if config.network == "transformer":
        return CausalTransformer(
            spec.dim, config.channels, config.num_layers, config.num_heads, num_per_pixel
        )
    if spec.image_shape is None:
        raise InputError("network pixelcnn without an image_shape: expected images, or made")
    return GatedPixelCNN(spec.image_shape, config.channels, config.num_layers, num_per_pixel)


def _one_pixel(spec: ObservationSpec) -> ObservationSpec:
    return ObservationSpec(
        **{name: value for name, value in vars(spec).items() if name not in ("dim", "image_shape")},
        dim=1,
    )


def _of_pixel(index, leaf):
    """What a head learns beside the features: of every pixel, or the same for all."""
    return leaf[index][None] if leaf.ndim else leaf
