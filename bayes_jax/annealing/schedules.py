"""Inverse temperatures 0 = beta_0 < ... < beta_T = 1: how fast a path goes to the posterior.

A schedule is fixed before any weighted chain runs. The bias of the log weights falls with the sum
over steps of (beta_t - beta_{t-1})^2 Var_beta[U], U = log p(x, z) - log q0(z): many small steps
belong where U spreads widely (Neal 2001, section 4; Grosse, Maddison, Salakhutdinov 2013,
"Annealing between distributions by averaging moments").
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from bayes_jax.errors import InputError

# Of an adaptive schedule so much is spent evenly, against a pilot that saw no spread by chance.
EVEN_SHARE = 0.1
# A spread seen smaller than so much of the largest is taken for that much.
LEAST_RELATIVE_SPREAD = 1e-3
# Points of the curve that an adaptive schedule is read off.
_NUM_POINTS = 1000


def linear_schedule(num_temperatures: int) -> Float[Array, " step"]:
    """Equal steps: the schedule as first published, and rarely the best."""
    return jnp.linspace(0.0, 1.0, num_temperatures + 1)


def power_schedule(num_temperatures: int, *, power: float = 4.0) -> Float[Array, " step"]:
    """(t / T)^power: dense at the start, for paths from a prior far from its posterior.

    Args:
        num_temperatures: T, the number of steps.
        power: above 1 moves temperatures towards the start.

    Returns:
        `[T + 1]`.
    """
    return linear_schedule(num_temperatures) ** power


def sigmoid_schedule(num_temperatures: int, *, sharpness: float = 4.0) -> Float[Array, " step"]:
    """Dense at both ends.

    Args:
        num_temperatures: T, the number of steps.
        sharpness: delta of Wu et al. 2017 (arXiv 1611.04273, section 4).

    Returns:
        `[T + 1]`.
    """
    raw = jax.nn.sigmoid(jnp.linspace(-sharpness, sharpness, num_temperatures + 1))
    return ((raw - raw[0]) / (raw[-1] - raw[0])).at[-1].set(1.0)


def equal_spread_schedule(
    betas: Float[Array, " knot"], spread: Float[Array, " knot"], num_temperatures: int
) -> Float[Array, " step"]:
    """Steps with equal beta increment times sd of U: the least bias that T steps can have.

    Args:
        betas: where the spread was measured, rising from 0 to 1.
        spread: standard deviation of U there, in nats.
        num_temperatures: T, the number of steps.

    Returns:
        `[T + 1]`.
    """
    # Where U was not finite it spreads as widely as anywhere.
    known = jnp.where(jnp.isfinite(spread), spread, -jnp.inf)
    widest = jnp.maximum(jnp.max(known), jnp.finfo(spread.dtype).tiny)
    relative = jnp.where(jnp.isfinite(spread), spread / widest, 1.0)
    log_density = jnp.log(jnp.maximum(relative, LEAST_RELATIVE_SPREAD))
    points = jnp.interp(jnp.linspace(0, len(betas) - 1, _NUM_POINTS), jnp.arange(len(betas)), betas)
    density = jnp.exp(jnp.interp(points, betas, log_density))
    pieces = 0.5 * (density[1:] + density[:-1]) * jnp.diff(points)
    length = jnp.concatenate([jnp.zeros(1), jnp.cumsum(pieces)])
    share = (1 - EVEN_SHARE) * length / length[-1] + EVEN_SHARE * points
    found = jnp.interp(jnp.linspace(0.0, 1.0, num_temperatures + 1), share, points)
    return found.at[0].set(0.0).at[-1].set(1.0)


FIXED_SCHEDULES: dict[str, Callable[[int], Float[Array, " step"]]] = {
    "sigmoid": sigmoid_schedule,
    "power": power_schedule,
    "linear": linear_schedule,
}


def check_schedule(schedule: str | Array | np.ndarray) -> None:
    """Refuse unknown names and temperatures that do not rise from 0 to 1.

    Raises:
        InputError: naming the first step that does not rise, or the ends found.
    """
    if isinstance(schedule, str):
        known = (*FIXED_SCHEDULES, "adaptive")
        if schedule not in known:
            raise InputError(f"schedule is {schedule!r}: expected {', '.join(known)}, or an array")
        return
    betas = np.asarray(schedule)
    if betas.ndim != 1 or len(betas) < 3:
        raise InputError(
            f"schedule has shape {betas.shape}: expected at least 3 inverse temperatures, 0 to 1"
        )
    if betas[0] != 0 or betas[-1] != 1:
        raise InputError(f"schedule goes from {betas[0]:g} to {betas[-1]:g}: expected 0 to 1")
    rising = np.diff(betas) > 0
    if not rising.all():
        step = int(np.argmin(rising))
        raise InputError(
            f"schedule does not rise at step {step + 1}: {betas[step]:g} is followed by "
            f"{betas[step + 1]:g}; expected inverse temperatures that increase from 0 to 1"
        )
