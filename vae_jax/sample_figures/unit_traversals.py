"""What each latent unit does to an image."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Num, PRNGKeyArray
from matplotlib.figure import Figure
from numpyro.distributions import Distribution

from bayes_jax.errors import InputError
from bayes_jax.noise import independent_draws
from vae_jax import plots
from vae_jax.latent_images import decode, encode
from vae_jax.latent_units import unit_table
from vae_jax.sample_figures.subject import Subject, spread

DEVIATIONS = np.linspace(-2.5, 2.5, 9)
"""Of a standard normal; they stand for its quantiles."""

MOST_UNITS = 12
NUM_IMAGES = 500
"""Test images that say which units are active."""

_NUM_DRAWS = 10_000


def traversals(key: PRNGKeyArray, subject: Subject, x: Num[np.ndarray, "image dim"]) -> Figure:
    """A row for each active unit, the busiest first: one image while that unit goes through p(z_u).

    Args:
        key: chooses the image, whose E[z|x] the other units keep.
        subject: with a way to z.
        x: test images.

    Raises:
        InputError: no way to z, or no unit that is active.
    """
    units = active_units(subject, x)
    return plots.image_table(
        traverse(key, subject, x, units=units),
        row_names=[f"z[{unit}]" for unit in units],
        headers=["image", *(f"{value:+.1f}" for value in DEVIATIONS)],
        title=f"{subject.name}: one latent at a time through its prior's quantiles (in sd)",
    )


def traverse(
    key: PRNGKeyArray, subject: Subject, x: Num[np.ndarray, "image dim"], *, units: list[int]
) -> Float[np.ndarray, "unit column height width"]:
    """One of the images, and the means of p(x | z) while one unit of its z moves.

    Args:
        key: chooses the image.
        subject: with a way to z.
        x: test images.
        units: those that move.

    Returns:
        Pixels in [0, 1]; the image itself is the first column.
    """
    key_image, key_prior = jax.random.split(key)
    image = x[jax.random.randint(key_image, (1,), 0, len(x))]
    values = prior_quantiles(key_prior, subject.latent.prior)[:, np.array(units)].T
    z = jnp.tile(encode(subject.encoder, image)[0], (*values.shape, 1))
    z = z.at[np.arange(len(units)), :, np.array(units)].set(values)
    decoded = subject.images(decode(subject.latent, z.reshape(-1, z.shape[-1])))
    decoded = decoded.reshape(*values.shape, *subject.shape)
    first = np.broadcast_to(subject.images(image), (len(units), 1, *subject.shape))
    return np.concatenate([first, decoded], axis=1)


def active_units(subject: Subject, x: Num[np.ndarray, "image dim"]) -> list[int]:
    """The latent units whose posterior mean varies over images, `MOST_UNITS` at most.

    Args:
        subject: with a way to z.
        x: images.

    Returns:
        Their numbers, the one whose mean varies most first.

    Raises:
        InputError: none is active.
    """
    model = subject.generative._replace(guide=subject.encoder)
    rows = unit_table(model, jnp.asarray(spread(x, NUM_IMAGES))).rows
    active = [row["unit"] for row in rows if row["active"]]
    if not active:
        raise InputError(f"{subject.name} has no active latent unit")
    return active[:MOST_UNITS]


def prior_quantiles(key: PRNGKeyArray, prior: Distribution) -> Float[Array, "column latent"]:
    """Of each unit alone, where a standard normal has `DEVIATIONS`; by draws, whatever the prior.

    Args:
        key: of the draws.
        prior: p(z).
    """
    z = independent_draws(key, prior, _NUM_DRAWS)
    return jnp.quantile(z, jax.scipy.stats.norm.cdf(DEVIATIONS), axis=0)
