"""Images side by side: drawn from the model, given back by it, and on the way between two."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Num, PRNGKeyArray
from matplotlib.figure import Figure

from vae_jax import plots
from vae_jax.latent_images import decode, encode, interpolate
from vae_jax.sample_figures.subject import Subject, spread

NUM_RECONSTRUCTIONS = 50
NUM_COLUMNS = 10
NUM_PATHS = 8


def samples(key: PRNGKeyArray, subject: Subject, *, num: int) -> Figure:
    """Images drawn from p(x), pixels drawn too.

    Args:
        key: a PRNG key.
        subject: any model.
        num: how many.
    """
    images = subject.images(subject.generative.sample(key, num))
    title = f"{subject.name}: {num} samples"
    return plots.image_grid(images, title=title, num_columns=NUM_COLUMNS)


def reconstructions(key: PRNGKeyArray, subject: Subject, x: Num[np.ndarray, "image dim"]) -> Figure:
    """Rows of test images, each above the mean of p(x | z) at their posterior mean.

    Args:
        key: unused, as nothing is random here.
        subject: with a way to z.
        x: test images; a last row that is not full is left out.
    """
    del key
    encoder = subject.encoder
    num_columns = min(NUM_COLUMNS, len(x))
    x = spread(x, NUM_RECONSTRUCTIONS)
    x = x[: len(x) // num_columns * num_columns]
    decoded = decode(subject.latent, encode(encoder, x))
    rows = [subject.images(part).reshape(-1, num_columns, *subject.shape) for part in (x, decoded)]
    pairs = np.stack(rows, axis=1).reshape(-1, *subject.shape)
    title = f"{subject.name}: test images, and below each row the mean of p(x|z) at E[z|x]"
    return plots.image_grid(pairs, title=title, num_columns=num_columns)


def interpolations(key: PRNGKeyArray, subject: Subject, x: Num[np.ndarray, "image dim"]) -> Figure:
    """Rows from one test image to another; the images themselves stand at both ends.

    Args:
        key: chooses the pairs.
        subject: with a way to z.
        x: test images.
    """
    encoder = subject.encoder
    num = min(NUM_PATHS, len(x) // 2)
    chosen = np.asarray(jax.random.permutation(key, len(x)))[: 2 * num]
    start, end = np.split(np.asarray(x)[chosen], 2)
    means = encode(encoder, jnp.concatenate([start, end]))
    z = interpolate(*jnp.split(means, 2), num_steps=NUM_COLUMNS - 2)
    decoded = decode(subject.latent, z.reshape(-1, z.shape[-1]))
    rows = [start[:, None], np.asarray(decoded).reshape(num, NUM_COLUMNS - 2, -1), end[:, None]]
    images = subject.images(np.concatenate(rows, axis=1).reshape(num * NUM_COLUMNS, -1))
    title = (
        f"{subject.name}: straight lines in z between the E[z|x] of two test images (at the ends)"
    )
    return plots.image_grid(images, title=title, num_columns=NUM_COLUMNS)
