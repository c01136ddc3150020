"""Images through a model's latent space: reconstructed, interpolated, ready to be drawn."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Num

from bayes_jax.model import GenerativeModel, Guide, LatentModel, compilable
from bayes_jax.noise import mean_of


def encoder(generative: GenerativeModel) -> Guide | None:
    """What gives q(z | x) for a continuous z: the guide, else an exact posterior, else nothing."""
    if generative.latent is None:
        return None
    return generative.guide or generative.posterior


def encode(guide: Guide, x: Float[Array | np.ndarray, "image dim"]) -> Float[Array, "image latent"]:
    """The mean of q(z | x) of each image.

    Args:
        guide: ONE x -> q(z | x).
        x: images.

    Returns:
        Means `[image, latent]`.
    """
    return _encode(compilable(guide), jnp.asarray(x))


def decode(
    model: LatentModel, z: Float[Array | np.ndarray, "image latent"]
) -> Float[Array, "image dim"]:
    """The mean of p(x | z) of each z.

    Args:
        model: p(z) p(x | z).
        z: latents.

    Returns:
        Means of the pixels `[image, dim]`.
    """
    return _decode(compilable(model), jnp.asarray(z))


def interpolate(
    start: Float[Array, "pair latent"], end: Float[Array, "pair latent"], *, num_steps: int
) -> Float[Array, "pair step latent"]:
    """Straight lines in the latent space, both ends included.

    Args:
        start: where each line begins.
        end: where it ends.
        num_steps: points on each line, at least 2.

    Returns:
        Equally spaced points `[pair, step, latent]`.
    """
    share = jnp.linspace(0.0, 1.0, num_steps)[:, None]
    return (1 - share) * start[:, None] + share * end[:, None]


def to_images(
    x: Num[Array | np.ndarray, "image dim"], shape: tuple[int, ...], *, white: float = 1.0
) -> np.ndarray:
    """Pixels clipped to [0, 1], `[image, height, width]`.

    Args:
        x: observations or means of pixels.
        shape: (height, width).
        white: what becomes 1, the spec's.

    Returns:
        What `vae_jax.plots` draws.
    """
    return np.clip(np.asarray(x, np.float32) / white, 0, 1).reshape(-1, *shape)


@jax.jit
def _encode(guide, x):
    return jax.vmap(lambda x: mean_of(guide(x)))(x)


@jax.jit
def _decode(model, z):
    return jax.vmap(lambda z: model.likelihood(z).mean)(z)
