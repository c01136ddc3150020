"""Images through a model's latent space: reconstructed, interpolated, ready to be drawn."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Num

from bayes_jax.model import GenerativeModel, Guide, LatentModel, compilable
from bayes_jax.noise import mean_of

_DECODED_AT_ONCE = 32
"""In memory: the mean of a pixel that has levels is a sum over them."""


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


def round_trip(
    stops: Float[Array, "stop latent"], *, num_steps: int
) -> Float[Array, "point latent"]:
    """From stop to stop and back to the first, where draws from a normal prior are as far out.

    Between two stops the direction from the origin turns along the great circle and the distance
    grows evenly; a straight line, which passes nearer to the origin, serves where both lie on one
    line through it. The steps are short at the stops: s = (1 - cos(pi t)) / 2.

    Args:
        stops: where it leads through.
        num_steps: points from each stop on, the next stop not included.

    Returns:
        Points `[stop * num_steps, latent]`; after the last comes the first.
    """
    time = jnp.arange(num_steps) / num_steps
    share = (0.5 - 0.5 * jnp.cos(jnp.pi * time))[:, None]
    legs = jax.vmap(lambda start, end: _turn(start, end, share))(stops, jnp.roll(stops, -1, axis=0))
    return legs.reshape(-1, stops.shape[-1])


def _turn(start, end, share):
    lengths = jnp.linalg.norm(start), jnp.linalg.norm(end)
    angle = jnp.arccos(jnp.clip(jnp.vdot(start, end) / (lengths[0] * lengths[1]), -1, 1))
    is_straight = ~(jnp.sin(angle) > 1e-3)  # or it has no angle, one stop being the origin
    safe = jnp.where(is_straight, 1.0, angle)
    weights = jnp.sin((1 - share) * safe), jnp.sin(share * safe)
    direction = weights[0] * start / lengths[0] + weights[1] * end / lengths[1]
    arc = ((1 - share) * lengths[0] + share * lengths[1]) * direction / jnp.sin(safe)
    return jnp.where(is_straight, (1 - share) * start + share * end, arc)


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
    return jax.lax.map(lambda z: model.likelihood(z).mean, z, batch_size=_DECODED_AT_ONCE)
