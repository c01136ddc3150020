"""Warm-up of the chains of ONE x: one step size across them, one covariance pooled over them."""

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpyro.infer.hmc_util import dual_averaging

from bayes_jax.transports import shrunk_cholesky

# What the step size search steers to: the harmonic mean of acceptance over the chains, which one
# stuck chain pulls to zero where it would leave the plain mean near its target (Hoffman, Radul,
# Sountsov 2021, "An adaptive-MCMC scheme for setting trajectory lengths in HMC"). The plain mean
# then comes out at 0.8 or above.
TARGET_HARMONIC_ACCEPT = 0.5
# Gain of the search: NumPyro's `gamma`, its default.
SEARCH_SHRINKAGE = 0.05
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


class Moments(NamedTuple):
    """Running sums over the draws of all chains, about a fixed origin.

    Attributes:
        origin: near the draws, so that the sums keep their digits in float32.
        count: number of draws.
        total: sum of (z - origin), `[latent]`.
        outer: sum of (z - origin)(z - origin)ᵀ, `[latent, latent]`.
    """

    origin: Float[Array, " latent"]
    count: Float[Array, ""]
    total: Float[Array, " latent"]
    outer: Float[Array, "latent latent"]


class _WarmUp(NamedTuple):
    """What the scan over warm-up moves carries."""

    points: Any
    factor: Float[Array, "latent latent"]
    averaging: tuple
    moments: Moments


def window_ends(num_warmup: int) -> tuple[np.ndarray, np.ndarray]:
    """For each warm-up move, whether it counts for the covariance and whether it ends a window.

    The first half of a window still comes from where the last one left the chains and does not
    count; in the last window nothing does.
    """
    bounds = np.round(np.cumsum((0.0, *WINDOWS)) * num_warmup).astype(int)
    counts, ends = np.zeros(num_warmup, bool), np.zeros(num_warmup, bool)
    for start, stop in itertools.pairwise(bounds[:-1]):
        if stop - start >= 2:
            counts[(start + stop) // 2 : stop] = True
            ends[stop - 1] = True
    return counts, ends


def initial_step_size(dim: int) -> Float[Array, ""]:
    """Where the search starts: the optimal step of a whitened Gaussian falls as dim^(-1/4)."""
    return jnp.asarray(0.5 * dim**-0.25)


def warm_up(key, moves: Callable, points, tuning: Tuning, *, num_warmup: int, max_step_size: float):
    """Adapt step size and preconditioner in windows; one scan, so that a move compiles once.

    Args:
        key: a PRNG key.
        moves: `(key, points, tuning) -> (points, info)`, one move of every chain.
        points: the chains' points, leaves `[chain, ...]`.
        tuning: where to start.
        num_warmup: moves per chain.
        max_step_size: the search goes no further, though every move be accepted.

    Returns:
        The points after warm-up, and the `Tuning` to keep.
    """
    if num_warmup == 0:
        return points, tuning
    init, update = dual_averaging(gamma=SEARCH_SHRINKAGE)
    max_log_step = jnp.log(max_step_size)

    def restart(log_step):
        # The search starts at the present step and is drawn back to it; NumPyro's starts at 1.
        log_step = jnp.minimum(log_step, max_log_step)
        return (log_step, *init(log_step)[1:])

    def one_move(carry, step):
        key, counts, ends = step
        tuning = Tuning(carry.factor, jnp.exp(carry.averaging[0]))
        points, info = moves(key, carry.points, tuning)
        error = TARGET_HARMONIC_ACCEPT - harmonic_mean(info.accept_prob)
        averaging = _hold_back(update(error, carry.averaging), max_log_step)
        moments = jax.lax.cond(counts, _add, lambda moments, _: moments, carry.moments, points)
        carry = _WarmUp(points, carry.factor, averaging, moments)
        # The flags belong to the scan and not to an x, so that both conds stay branches.
        return jax.lax.cond(ends, _end_window, lambda carry: carry, carry), None

    def _end_window(carry):
        return _WarmUp(
            carry.points,
            factor_of(carry.moments),
            restart(carry.averaging[1]),
            no_moments(jnp.mean(carry.points.position, axis=0)),
        )

    start = _WarmUp(
        points,
        tuning.factor,
        restart(jnp.log(tuning.step_size)),
        no_moments(jnp.mean(points.position, axis=0)),
    )
    steps = (jax.random.split(key, num_warmup), *window_ends(num_warmup))
    end, _ = jax.lax.scan(one_move, start, steps)
    return end.points, Tuning(end.factor, jnp.exp(end.averaging[1]))


def harmonic_mean(accept_prob: Float[Array, " chain"]) -> Float[Array, ""]:
    """Zero as soon as one chain rejects everything."""
    return 1 / jnp.mean(1 / jnp.maximum(accept_prob, 1e-6))


def _hold_back(averaging, max_log_step):
    """Stop the search at the longest step, its memory too.

    A target that accepts every step would otherwise drive the memory ever further off, and the
    search would not be back in time when a chain meets a stiffer region.
    """
    log_step, mean_log_step, gradient, count, centre = averaging
    # Where NumPyro's rule, log step = centre - sqrt(count) / gamma gradient, meets the longest.
    least = (centre - max_log_step) * SEARCH_SHRINKAGE / jnp.sqrt(count)
    return (
        jnp.minimum(log_step, max_log_step),
        jnp.minimum(mean_log_step, max_log_step),
        jnp.maximum(gradient, least),
        count,
        centre,
    )


def no_moments(origin: Float[Array, " latent"]) -> Moments:
    """Empty sums about an origin."""
    zero = jnp.zeros_like(origin)
    return Moments(origin, jnp.zeros((), origin.dtype), zero, jnp.outer(zero, zero))


def factor_of(moments: Moments) -> Float[Array, "latent latent"]:
    """Cholesky factor of the draws' covariance, shrunk for few draws; diagonal in many dimensions.

    A covariance that is not finite (a chain that ran away) gives the identity.
    """
    dim = len(moments.total)
    mean = moments.total / moments.count
    covariance = (moments.outer - moments.count * jnp.outer(mean, mean)) / (moments.count - 1)
    if dim > MAX_DENSE_DIM:
        factor = jnp.diag(jnp.sqrt(jnp.diagonal(covariance)))
    else:
        factor = shrunk_cholesky(covariance, moments.count / dim)
    return jnp.where(jnp.all(jnp.isfinite(factor)), factor, jnp.eye(dim, dtype=factor.dtype))


def _add(moments: Moments, points) -> Moments:
    centred = points.position - moments.origin
    return Moments(
        moments.origin,
        moments.count + len(centred),
        moments.total + jnp.sum(centred, axis=0),
        moments.outer + centred.T @ centred,
    )
