"""A walk through the latent space, as a film without an end."""

import jax
import numpy as np
from jaxtyping import Array, Float, Num, PRNGKeyArray

from bayes_jax.noise import independent_draws
from vae_jax import plots
from vae_jax.latent_images import decode, encode, encoder, round_trip
from vae_jax.sample_figures.subject import Subject

NUM_STOPS, NUM_STEPS = 6, 12
SECONDS_PER_FRAME = 0.08


def walk(key: PRNGKeyArray, subject: Subject, x: Num[np.ndarray, "image dim"]) -> bytes:
    """The means of p(x | z) on a round trip, `NUM_STEPS` frames from stop to stop.

    Args:
        key: chooses the stops.
        subject: with a continuous latent.
        x: test images.

    Returns:
        The content of a GIF file.

    Raises:
        InputError: no continuous latent.
    """
    z = round_trip(stops(key, subject, x), num_steps=NUM_STEPS)
    frames = subject.images(decode(subject.latent, z))
    return plots.gif(frames, seconds_per_frame=SECONDS_PER_FRAME)


def stops(
    key: PRNGKeyArray, subject: Subject, x: Num[np.ndarray, "image dim"]
) -> Float[Array, "stop latent"]:
    """The E[z|x] of test images, or draws from the prior of a model that has no way to z."""
    guide = encoder(subject.generative)
    if guide is None:
        return independent_draws(key, subject.latent.prior, NUM_STOPS)
    return encode(guide, x[np.asarray(jax.random.permutation(key, len(x)))[:NUM_STOPS]])
