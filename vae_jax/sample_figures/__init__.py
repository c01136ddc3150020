"""Pictures of what one model draws, of how it sees test images, and of what its latents do.

`subject` is whose pictures they are. In `IMAGES` the name of a file stands beside what makes its
content of a key, a subject and test images, or raises an InputError that says in a few words what
the model lacks for it.
"""

from collections.abc import Callable

from vae_jax import report
from vae_jax.sample_figures.grids import interpolations, reconstructions, samples
from vae_jax.sample_figures.latent_walk import walk
from vae_jax.sample_figures.lower_halves import halves
from vae_jax.sample_figures.subject import Subject, brightest, spread
from vae_jax.sample_figures.unit_traversals import traversals

__all__ = ["IMAGES", "Subject", "brightest", "samples", "spread"]


def _png(draw: Callable) -> Callable[..., bytes]:
    return lambda *args: report.png(draw(*args))


IMAGES: dict[str, Callable[..., bytes]] = {
    "reconstructions.png": _png(reconstructions),
    "interpolations.png": _png(interpolations),
    "traversals.png": _png(traversals),
    "halves.png": _png(halves),
    "walk.gif": walk,
}
"""File -> (key, subject, x) -> its content."""
