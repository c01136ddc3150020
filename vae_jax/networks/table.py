"""The bodies of encoder and decoder that a config names."""

import flax.linen as nn
import jax.numpy as jnp

from bayes_jax.errors import InputError
from vae_jax.configs import NetworkConfig, ObservationSpec
from vae_jax.networks.convolutional import ConvDecoder, ConvEncoder
from vae_jax.networks.mlp import MLP
from vae_jax.networks.two_level import TwoLevelDecoder

_ACTIVATIONS = {"relu": nn.relu, "tanh": nn.tanh}


def make_networks(
    config: NetworkConfig,
    hidden_dims: tuple[int, ...],
    spec: ObservationSpec,
    *,
    num_encoder_features: int,
    num_decoder_features: int,
) -> tuple[nn.Module, nn.Module]:
    """An encoder that reads one x, and a decoder that reads one z.

    Args:
        config: which.
        hidden_dims: widths of the encoder's dense layers; the decoder has them reversed.
        spec: the observation.
        num_encoder_features: what the encoder gives.
        num_decoder_features: what the decoder gives, as many for each pixel.

    Raises:
        InputError: convolutions over an observation that is no image.
    """
    how = {"activation": _ACTIVATIONS[config.activation], "dtype": jnp.dtype(config.dtype)}
    sizes = {"num_encoder_features": num_encoder_features}
    sizes |= {"num_decoder_features": num_decoder_features}
    encoder, decoder = _bodies(config, hidden_dims, spec, how, **sizes)
    if config.top_dim:
        decoder = TwoLevelDecoder(config.top_dim, hidden_dims[-1:], decoder, **how)
    return encoder, decoder


def _bodies(config, hidden_dims, spec, how, *, num_encoder_features, num_decoder_features):
    if config.name == "mlp":
        return (
            MLP(hidden_dims, num_encoder_features, **how),
            MLP(hidden_dims[::-1], num_decoder_features, **how),
        )
    if spec.image_shape is None:
        raise InputError(
            f"network {config.name} on observations without an image_shape: expected images, or mlp"
        )
    levels = {"channels": config.channels, "num_blocks": config.num_blocks, **how}
    return (
        ConvEncoder(
            spec.image_shape, hidden_dims=hidden_dims, output_dim=num_encoder_features, **levels
        ),
        ConvDecoder(
            spec.image_shape,
            hidden_dims=hidden_dims[::-1],
            num_per_pixel=num_decoder_features // spec.dim,
            **levels,
        ),
    )
