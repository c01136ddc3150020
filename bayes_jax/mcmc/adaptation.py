"""Warm-up of the chains of ONE x: one step size across them, one covariance pooled over them."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float
from numpyro.infer.hmc_util import dual_averaging

from bayes_jax.transports import affine_from_draws

TARGET_ACCEPT = 0.8
# Up to here the pooled covariance is dense; beyond, only variances are kept.
MAX_DENSE_DIM = 64
# Shares of the warm-up: after each of all but the last, the chains are whitened anew; in the last
# one only the step size moves. Later windows forget the way from the start.
WINDOWS = (0.15, 0.25, 0.4, 0.2)


class Tuning(NamedTuple):
    """What warm-up finds and the kept draws use unchanged.

    Attributes:
        factor: preconditioner `[latent, latent]`, factor factorᵀ about the posterior covariance.
        step_size: of the leapfrog, in whitened coordinates.
    """

    factor: Float[Array, "latent latent"]
    step_size: Float[Array, ""]


def window_lengths(num_warmup: int) -> tuple[int, ...]:
    """Split the warm-up steps into windows; every window that whitens has at least two steps."""
    if num_warmup < 2 * len(WINDOWS):
        return (num_warmup,)
    lengths = [max(2, round(share * num_warmup)) for share in WINDOWS[:-1]]
    return (*lengths, num_warmup - sum(lengths))


def initial_step_size(dim: int) -> Float[Array, ""]:
    """Where the search starts: the optimal step of a whitened Gaussian falls as dim^(-1/4)."""
    return jnp.asarray(0.5 * dim**-0.25)


def pooled_factor(positions: Float[Array, "step chain latent"]) -> Float[Array, "latent latent"]:
    """Cholesky factor of the covariance of all chains' draws; diagonal in many dimensions."""
    draws = positions.reshape(-1, positions.shape[-1])
    if draws.shape[-1] > MAX_DENSE_DIM:
        return jnp.diag(jnp.std(draws, axis=0))
    return affine_from_draws(draws).scale_tril


def warm_up(key, moves: Callable, points, tuning: Tuning, *, num_warmup: int):
    """Adapt step size and preconditioner in windows.

    Args:
        key: a PRNG key.
        moves: `(key, points, tuning) -> (points, info)`, one move of every chain.
        points: the chains' points, leaves `[chain, ...]`.
        tuning: where to start.
        num_warmup: moves per chain.

    Returns:
        The points after warm-up, and the `Tuning` to keep.
    """
    windows = window_lengths(num_warmup)
    for index, length in enumerate(windows):
        key, key_window = jax.random.split(key)
        points, step_size, positions = _window(key_window, moves, points, tuning, length)
        tuning = tuning._replace(step_size=step_size)
        if index < len(windows) - 1:
            # The first half of a window still comes from where the last one left the chains.
            tuning = tuning._replace(factor=pooled_factor(positions[length // 2 :]))
    return points, tuning


def _window(key, moves, points, tuning, length):
    init, update = dual_averaging()

    def one_move(carry, key):
        points, averaging = carry
        current = tuning._replace(step_size=jnp.exp(averaging[0]))
        points, info = moves(key, points, current)
        accept = jnp.mean(info.accept_prob)
        return (points, update(TARGET_ACCEPT - accept, averaging)), points.position

    # The search starts at the present step and is drawn back to it; NumPyro's would start at 1.
    start = (jnp.log(tuning.step_size), *init(jnp.log(tuning.step_size))[1:])
    keys = jax.random.split(key, length)
    (points, averaging), positions = jax.lax.scan(one_move, (points, start), keys)
    return points, jnp.exp(averaging[1]), positions
