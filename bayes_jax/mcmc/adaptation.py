"""Warm-up of the chains of ONE x: one step size across them, one covariance pooled over them.

The warm-up runs in windows. At the end of all but the last, the chains are whitened anew by the
covariance of their draws, those far below the others left out; in the last one only the step size
moves. Chains that may start far out search a step size each in the first window: one for all would
be that of the stiffest place, and leave the others where they stand.
"""

import itertools
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int
from numpyro.infer.hmc_util import dual_averaging

from bayes_jax.transports import shrunk_cholesky

# What the step size search steers to: the harmonic mean of acceptance over the chains, which one
# stuck chain pulls to zero where it would leave the plain mean near its target (Hoffman, Radul,
# Sountsov 2021, "An adaptive-MCMC scheme for setting trajectory lengths in HMC"). The plain mean
# then comes out at 0.8 or above.
TARGET_HARMONIC_ACCEPT = 0.5
# The same for a chain that searches alone.
TARGET_ACCEPT = 0.8
# Gain of the search: NumPyro's `gamma`, its default.
SEARCH_SHRINKAGE = 0.05
# Up to here the pooled covariance is dense; beyond, only variances are kept.
MAX_DENSE_DIM = 64
# Shares of the warm-up. Later windows forget the way from the start.
WINDOWS = (0.15, 0.25, 0.4, 0.2)
# A draw this many spreads of log density below the median of its x's chains is far from them.
FAR_BELOW = 10.0


class Tuning(NamedTuple):
    """What warm-up finds and the kept draws use unchanged.

    Attributes:
        factor: preconditioner `[latent, latent]`, factor factorᵀ about the posterior covariance.
        step_size: of the leapfrog, in whitened coordinates, `[chain]`; the same for all once they
            no longer search alone.
    """

    factor: Float[Array, "latent latent"]
    step_size: Float[Array, " chain"]


class Moments(NamedTuple):
    """Running sums over draws, about a fixed origin.

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


class WarmUp(NamedTuple):
    """What the warm-up has gathered so far.

    Attributes:
        search: of the step sizes, NumPyro's dual averaging.
        moments: of the present window.
        trusted: 1 for the chains whose draws count, else 0, `[chain]`.
    """

    search: tuple
    moments: Moments
    trusted: Float[Array, " chain"]


class Phase(NamedTuple):
    """What one move of the warm-up is for; leaves `[move]` in a schedule.

    Attributes:
        alone: every chain searches a step size of its own.
        counts: its draws count for the covariance.
        whitens: it ends a window, and the covariance is taken.
        rescues: it ends the search alone, and chains left far behind climb.
        ends: it ends the warm-up.
    """

    alone: Bool[Array, "*move"]
    counts: Bool[Array, "*move"]
    whitens: Bool[Array, "*move"]
    rescues: Bool[Array, "*move"]
    ends: Bool[Array, "*move"]


def schedule(num_warmup: int, *, far_starts: bool = False) -> Phase:
    """What each move is for.

    The first half of a window still comes from where the last one left the chains and does not
    count; in the last window nothing does.

    Args:
        num_warmup: moves of the whole warm-up.
        far_starts: the chains search alone in the first window.
    """
    bounds = np.round(np.cumsum((0.0, *WINDOWS)) * num_warmup).astype(int)
    alone, counts, whitens, ends = np.zeros((4, num_warmup), bool)
    for start, stop in itertools.pairwise(bounds[:-1]):
        if stop - start >= 2:
            counts[(start + stop) // 2 : stop] = True
            whitens[stop - 1] = True
    alone[: bounds[1]] = far_starts and has_first_window(num_warmup)
    ends[-1:] = True
    return Phase(*map(jnp.asarray, (alone, counts, whitens, alone & whitens, ends)))


def has_first_window(num_warmup: int) -> bool:
    """Whether the first window is long enough to learn from."""
    return _first_window(num_warmup) >= 2


def is_past_first_window(
    num_moves: int | Int[Array, ""], num_warmup: int
) -> bool | Bool[Array, ""]:
    """Whether so many moves have come to the end of a first window."""
    return has_first_window(num_warmup) & (num_moves >= _first_window(num_warmup))


def _first_window(num_warmup: int) -> int:
    return round(WINDOWS[0] * num_warmup)


def initial_tuning(
    factor: Float[Array, "latent latent"], positions: Float[Array, "chain latent"]
) -> Tuning:
    """Where the search starts."""
    num_chains, dim = positions.shape
    return Tuning(factor, jnp.full(num_chains, initial_step_size(dim), positions.dtype))


def initial_step_size(dim: int) -> Float[Array, ""]:
    """The optimal step of a whitened Gaussian falls as dim^(-1/4)."""
    return jnp.asarray(0.5 * dim**-0.25)


def start(
    tuning: Tuning, positions: Float[Array, "chain latent"], trusted: Float[Array, " chain"]
) -> WarmUp:
    """Nothing gathered yet."""
    return WarmUp(
        search=_restart(jnp.log(tuning.step_size)),
        moments=no_moments(jnp.mean(positions, axis=0)),
        trusted=trusted.astype(positions.dtype),
    )


def learn(
    phase: Phase,
    warm_up: WarmUp,
    tuning: Tuning,
    positions: Float[Array, "chain latent"],
    log_density: Float[Array, " chain"],
    accept_prob: Float[Array, " chain"],
    *,
    max_step_size: float,
) -> tuple[WarmUp, Tuning]:
    """Learn from a move.

    The flags of the phase belong to the schedule and not to an x, so that every cond stays a branch
    when this is mapped over x.

    Args:
        phase: what the move was for.
        warm_up: what was gathered before it.
        tuning: that it was made with.
        positions: where the chains stand after it.
        log_density: there, in nats.
        accept_prob: of its proposals.
        max_step_size: the search goes no further, though every move be accepted.
    """
    together = TARGET_HARMONIC_ACCEPT - harmonic_mean(accept_prob)
    error = jnp.where(phase.alone, TARGET_ACCEPT - accept_prob, together)
    search = _hold_back(_update_search(error, warm_up.search), jnp.log(max_step_size))

    def count(moments):
        near = near_the_others(log_density, warm_up.trusted, dim=positions.shape[-1])
        return add(moments, positions, warm_up.trusted * near)

    moments = jax.lax.cond(phase.counts, count, lambda moments: moments, warm_up.moments)
    warm_up, factor = jax.lax.cond(
        phase.whitens,
        partial(_whiten, alone=phase.alone),
        lambda warm_up, factor: (warm_up, factor),
        warm_up._replace(search=search, moments=moments),
        tuning.factor,
    )
    log_step, mean_log_step, *_ = warm_up.search
    step_size = jnp.exp(jnp.where(phase.ends, mean_log_step, log_step))
    return warm_up, Tuning(factor, step_size)


def _whiten(warm_up: WarmUp, factor, *, alone):
    moments, mean_log_step = warm_up.moments, warm_up.search[1]
    origin = moments.origin + jnp.where(
        moments.count > 0, moments.total / moments.count, jnp.zeros_like(moments.total)
    )
    # What a chain found alone says nothing of the coordinates that all have now.
    first = jnp.log(initial_step_size(len(factor))).astype(origin.dtype)
    search = _restart(jnp.where(alone, first, mean_log_step))
    fresh = warm_up._replace(moments=no_moments(origin), search=search)
    return fresh, factor_of(moments, factor)


def near_the_others(
    log_density: Float[Array, " chain"], trusted: Float[Array, " chain"], *, dim: int
) -> Bool[Array, " chain"]:
    """False for chains whose log density is far below the median of the trusted ones.

    "Far" is 10 median absolute deviations, and no less than 10 standard deviations of the log
    density of a Gaussian, sqrt(dim / 2): chains of one mode all are near, and so are those in a
    funnel, whose log density varies.

    Args:
        log_density: in nats; NaN counts as the lowest.
        trusted: 1 for the chains that the median is taken of, else 0.
        dim: of the latent.
    """
    value = jnp.nan_to_num(log_density, nan=-jnp.inf)
    asked = jnp.where(trusted > 0, value, jnp.nan)
    median = jnp.nanmedian(asked)
    spread = jnp.maximum(jnp.nanmedian(jnp.abs(asked - median)), (dim / 2) ** 0.5)
    return value >= median - FAR_BELOW * spread


def harmonic_mean(accept_prob: Float[Array, " chain"]) -> Float[Array, ""]:
    """Zero as soon as one chain rejects everything."""
    return 1 / jnp.mean(1 / jnp.maximum(accept_prob, 1e-6))


_init_search, _update_search = dual_averaging(gamma=SEARCH_SHRINKAGE)


def _restart(log_step: Float[Array, " chain"]) -> tuple:
    """The searches from step sizes on, and drawn back to them; NumPyro's starts at 1."""
    zero = jnp.zeros_like(log_step)
    return (log_step, zero, zero, *_init_search(log_step)[3:])


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


def factor_of(
    moments: Moments, factor: Float[Array, "latent latent"]
) -> Float[Array, "latent latent"]:
    """Factor of the draws' covariance, shrunk for few draws; diagonal in many dimensions.

    The correlations are shrunk in the coordinates that `factor` whitens: window by window, any
    correlation is found to the last digit, where shrinking those of z would leave 2 latent / draws
    of every variance. A covariance that is not finite (a chain that ran away) leaves the factor.

    Args:
        moments: sums over the draws.
        factor: what has whitened the chains so far.
    """
    dim = len(moments.total)
    mean = moments.total / moments.count
    covariance = (moments.outer - moments.count * jnp.outer(mean, mean)) / (moments.count - 1)
    if dim > MAX_DENSE_DIM:
        found = jnp.diag(jnp.sqrt(jnp.diagonal(covariance)))
    else:
        whitened = jnp.linalg.solve(factor, jnp.linalg.solve(factor, covariance).T)
        found = factor @ shrunk_cholesky(whitened, moments.count / dim)
    return jnp.where(jnp.all(jnp.isfinite(found)), found, factor)


def add(
    moments: Moments, positions: Float[Array, "chain latent"], weights: Float[Array, " chain"]
) -> Moments:
    """The sums with one more draw of each chain that has weight 1."""
    centred = positions - moments.origin
    # A chain that ran away has weight 0, and 0 times infinity would be NaN.
    centred = jnp.where(weights[:, None] > 0, centred, 0.0)
    weighted = weights[:, None] * centred
    return Moments(
        moments.origin,
        moments.count + jnp.sum(weights),
        moments.total + jnp.sum(weighted, axis=0),
        moments.outer + weighted.T @ centred,
    )
