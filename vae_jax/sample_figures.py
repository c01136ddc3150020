"""Figures of what one model draws and of how it sees test images."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, PRNGKeyArray
from matplotlib.figure import Figure

from bayes_jax.model import GenerativeModel
from vae_jax import plots
from vae_jax.latent_images import decode, encode, encoder, interpolate, to_images

NUM_RECONSTRUCTIONS = 50
NUM_COLUMNS = 10
NUM_PATHS = 8


def samples(
    key: PRNGKeyArray,
    generative: GenerativeModel,
    shape: tuple[int, ...],
    *,
    num: int,
    title: str,
    white: float = 1.0,
) -> Figure:
    """Images drawn from p(x), pixels drawn too.

    Args:
        key: a PRNG key.
        generative: the model.
        shape: (height, width).
        num: how many.
        title: what to call the model.
        white: the brightest pixel, the spec's.
    """
    images = to_images(generative.sample(key, num), shape, white=white)
    return plots.image_grid(images, title=f"{title}: {num} samples", num_columns=NUM_COLUMNS)


def reconstructions(
    generative: GenerativeModel,
    x: Float[np.ndarray, "image dim"],
    shape: tuple[int, ...],
    *,
    title: str,
    white: float = 1.0,
) -> Figure:
    """Rows of test images, each above the mean of p(x | z) at their posterior mean.

    Args:
        generative: a model with a latent and a way to z.
        x: test images; a last row that is not full is left out.
        shape: (height, width).
        title: what to call the model.
        white: the brightest pixel, the spec's.
    """
    num_columns = min(NUM_COLUMNS, len(x))
    x = x[: len(x) // num_columns * num_columns][:NUM_RECONSTRUCTIONS]
    decoded = decode(generative.latent, encode(encoder(generative), x))
    rows = [
        to_images(part, shape, white=white).reshape(-1, num_columns, *shape)
        for part in (x, decoded)
    ]
    pairs = np.stack(rows, axis=1).reshape(-1, *shape)
    title = f"{title}: test images, and below each row the mean of p(x|z) at E[z|x]"
    return plots.image_grid(pairs, title=title, num_columns=num_columns)


def interpolations(
    key: PRNGKeyArray,
    generative: GenerativeModel,
    x: Float[np.ndarray, "image dim"],
    shape: tuple[int, ...],
    *,
    title: str,
    white: float = 1.0,
) -> Figure:
    """Rows from one test image to another; the images themselves stand at both ends.

    Args:
        key: chooses the pairs.
        generative: a model with a latent and a way to z.
        x: test images.
        shape: (height, width).
        title: what to call the model.
        white: the brightest pixel, the spec's.
    """
    num = min(NUM_PATHS, len(x) // 2)
    chosen = np.asarray(jax.random.permutation(key, len(x)))[: 2 * num]
    start, end = np.split(np.asarray(x)[chosen], 2)
    means = encode(encoder(generative), jnp.concatenate([start, end]))
    z = interpolate(*jnp.split(means, 2), num_steps=NUM_COLUMNS - 2)
    decoded = decode(generative.latent, z.reshape(-1, z.shape[-1]))
    rows = [start[:, None], np.asarray(decoded).reshape(num, NUM_COLUMNS - 2, -1), end[:, None]]
    images = to_images(
        np.concatenate(rows, axis=1).reshape(num * NUM_COLUMNS, -1), shape, white=white
    )
    title = f"{title}: straight lines in z between the E[z|x] of two test images (at the ends)"
    return plots.image_grid(images, title=title, num_columns=NUM_COLUMNS)
