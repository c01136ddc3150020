"""The decoder that benchmarks of inference share: the seed VAE with 20 latents, trained here."""

import itertools
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, PyTree

from bayes_jax import Guide, InputError, LatentModel
from vae_jax.comparison import models
from vae_jax.configs import DataConfig, TrainConfig, VAEConfig
from vae_jax.data import arrays

LATENT_DIM = 20
# The digits are few: an epoch of theirs is a fortieth of one of MNIST.
DIGITS_EPOCHS = 150


class TrainedDecoder(NamedTuple):
    """What inference is measured on.

    Attributes:
        model: p(z) p(x | z).
        guide: the encoder.
        params: of the decoder, as Flax names them.
        x: test images, 0/1 pixels `[image, pixel]`.
        name: of the data.
    """

    model: LatentModel
    guide: Guide
    params: PyTree
    x: Array
    name: str


def trained_decoder(
    data: str, data_dir: str | None, *, num_images: int, num_epochs: int
) -> TrainedDecoder:
    """Train the seed VAE.

    Args:
        data: mnist or digits; digits are taken where mnist is absent.
        data_dir: folder of the data sets.
        num_images: test images.
        num_epochs: on mnist.
    """
    try:
        dataset = arrays.load(DataConfig(name=data, data_dir=data_dir))
    except InputError as error:
        print(f"{error}; taking digits", flush=True)
        dataset = arrays.load(DataConfig(name="digits"))
    config = TrainConfig(num_epochs=DIGITS_EPOCHS if dataset.name == "digits" else num_epochs)
    trained = models.train("vae", dataset, config, config=VAEConfig(LATENT_DIM))
    x = jnp.asarray(dataset.test[:num_images], jnp.float32)
    model, guide = trained.generative.latent, trained.generative.guide
    # The likelihood is a `Partial` over the decoder's params.
    network = model.likelihood.args[0]["decoder"]
    return TrainedDecoder(model, guide, network, x, dataset.name)


def flops_per_gradient(num_pixels: int, latent_dim: int) -> float:
    """Matrix products of the seed decoder, forward and back to z."""
    widths = (latent_dim, *reversed(VAEConfig().hidden_dims), num_pixels)
    return 2 * 2 * sum(a * b for a, b in itertools.pairwise(widths))
