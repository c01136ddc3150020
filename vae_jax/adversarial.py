"""What a critic and a generator minimise, and a score of samples that asks for no likelihood."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

# Gradient of a distance at no distance.
_LEAST_SQUARE = 1e-12


def non_saturating_critic(
    key: PRNGKeyArray,
    critic: Callable,
    real: Float[Array, "batch dim"],
    fake: Float[Array, "batch dim"],
    *,
    penalty: float,
) -> Float[Array, ""]:
    """Logistic loss with a penalty on the slope at real images.

    Goodfellow et al. 2014, arXiv 1406.2661; the penalty: R1 of Mescheder, Geiger, Nowozin 2018,
    arXiv 1801.04406, equation 9.

    Args:
        key: unused.
        critic: ONE x -> a score, larger for what seems real.
        real: images of the data.
        fake: images of the generator.
        penalty: gamma of the paper.
    """
    del key
    values, slopes = jax.vmap(jax.value_and_grad(critic))(real)
    loss = jnp.mean(jax.nn.softplus(-values)) + jnp.mean(jax.nn.softplus(jax.vmap(critic)(fake)))
    return loss + 0.5 * penalty * jnp.mean(jnp.sum(slopes**2, axis=-1))


def non_saturating_generator(scores: Float[Array, " batch"]) -> Float[Array, ""]:
    """-log of the probability that the critic gives a generated image to be real."""
    return jnp.mean(jax.nn.softplus(-scores))


def wasserstein_critic(
    key: PRNGKeyArray,
    critic: Callable,
    real: Float[Array, "batch dim"],
    fake: Float[Array, "batch dim"],
    *,
    penalty: float,
) -> Float[Array, ""]:
    """Difference of mean scores, with a penalty on slopes other than 1 between the images.

    Gulrajani et al. 2017, *Improved training of Wasserstein GANs*, arXiv 1704.00028, equation 3.

    Args:
        key: of the places where the slope is looked at.
        critic: ONE x -> a score, larger for what seems real.
        real: images of the data.
        fake: images of the generator.
        penalty: lambda of the paper.
    """
    share = jax.random.uniform(key, (len(real), 1))
    slopes = jax.vmap(jax.grad(critic))(share * real + (1 - share) * fake)
    lengths = jnp.sqrt(jnp.sum(slopes**2, axis=-1) + _LEAST_SQUARE)
    loss = jnp.mean(jax.vmap(critic)(fake)) - jnp.mean(jax.vmap(critic)(real))
    return loss + penalty * jnp.mean((lengths - 1) ** 2)


def wasserstein_generator(scores: Float[Array, " batch"]) -> Float[Array, ""]:
    """Minus the mean score of generated images."""
    return -jnp.mean(scores)


def energy_score(
    x: Float[Array, "batch dim"], samples: Float[Array, "sample dim"]
) -> Float[Array, " batch"]:
    """E|Y - x| - E|Y - Y'| / 2 for Y, Y' of the model: smaller is better, and least for the truth.

    A strictly proper score that samples alone estimate without bias (Gneiting, Raftery 2007,
    "Strictly proper scoring rules, prediction, and estimation", equation 22). Its mean over x is
    half the energy distance of model and data, up to a constant. In units of pixels, not nats.

    Args:
        x: observations.
        samples: independent draws of the model, two at least.
    """
    num = len(samples)
    others = jnp.sum(jnp.where(jnp.eye(num, dtype=bool), 0.0, _distances(samples, samples)))
    spread = others / (num * (num - 1))
    return jnp.mean(_distances(x, samples), axis=1) - 0.5 * spread


def _distances(left, right):
    products = jnp.matmul(left, right.T, precision="highest")
    squares = jnp.sum(left**2, axis=1)[:, None] + jnp.sum(right**2, axis=1) - 2 * products
    return jnp.sqrt(jnp.maximum(squares, 0.0))
