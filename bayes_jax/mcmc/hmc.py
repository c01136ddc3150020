"""Batched HMC of fixed shape: many chains of ONE x in lock step, tuned across its chains.

Every move costs the same number of gradients, so a batch of posteriors wastes nothing on waiting
for the slowest, as a vmapped tree sampler would. `init`, `warm_up` and `step` are pure.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from bayes_jax.hamiltonian import (
    MoveInfo,
    Point,
    hmc_move,
    identity,
    num_noise,
    value_and_gradient,
)
from bayes_jax.mcmc import adaptation
from bayes_jax.mcmc.adaptation import Tuning
from bayes_jax.noise import standard_normals

# Gradients per move. On trained decoders of 2 and 16 latents three gave the most effective draws
# per gradient, for means and squares alike.
NUM_LEAPFROGS = 3
# Longest path of a move in whitened units: past a quarter turn, pi / 2, a Gaussian comes back to
# where it was and the squares stop mixing, however many gradients are spent.
MAX_PATH = 2.0


class HMCState(NamedTuple):
    """The chains of one x, ready for the next move.

    Attributes:
        points: where the chains stand, leaves `[chain, ...]`.
        tuning: step size and preconditioner they share.
    """

    points: Point
    tuning: Tuning


def init(
    log_density: Callable,
    positions: Float[Array, "chain latent"],
    factor: Float[Array, "latent latent"],
) -> HMCState:
    """Evaluate the density where the chains start."""
    terms = jax.vmap(value_and_gradient(log_density))(positions)
    step_size = adaptation.initial_step_size(positions.shape[-1])
    return HMCState(Point(positions, terms), Tuning(factor, step_size))


def step(
    key: PRNGKeyArray, log_density: Callable, state: HMCState, *, num_leapfrogs: int = NUM_LEAPFROGS
) -> tuple[HMCState, MoveInfo]:
    """Move every chain once; the tuning stays."""
    points, info = _moves(log_density, num_leapfrogs)(key, state.points, state.tuning)
    return state._replace(points=points), info


def warm_up(
    key: PRNGKeyArray,
    log_density: Callable,
    state: HMCState,
    *,
    num_warmup: int,
    num_leapfrogs: int = NUM_LEAPFROGS,
) -> HMCState:
    """Adapt step size and preconditioner over `num_warmup` moves; afterwards they stay."""
    moves = _moves(log_density, num_leapfrogs)
    points, tuning = adaptation.warm_up(
        key,
        moves,
        state.points,
        state.tuning,
        num_warmup=num_warmup,
        max_step_size=MAX_PATH / num_leapfrogs,
    )
    return HMCState(points, tuning)


def sample(
    key: PRNGKeyArray,
    log_density: Callable,
    state: HMCState,
    *,
    num_samples: int,
    num_leapfrogs: int = NUM_LEAPFROGS,
) -> tuple[HMCState, tuple[Float[Array, "chain draw latent"], Array, MoveInfo]]:
    """`num_samples` moves, kept: positions, log densities and how each move went."""

    def one_step(state, key):
        state, info = step(key, log_density, state, num_leapfrogs=num_leapfrogs)
        return state, (state.points.position, state.points.terms[0], info)

    state, kept = jax.lax.scan(one_step, state, jax.random.split(key, num_samples))
    return state, jax.tree.map(lambda leaf: jnp.swapaxes(leaf, 0, 1), kept)


def num_gradients(num_chains: int, num_moves: int, *, num_leapfrogs: int = NUM_LEAPFROGS) -> int:
    """Gradients that `num_moves` moves of all chains take, the one at the start included."""
    return num_chains * (1 + num_moves * num_leapfrogs)


def _moves(log_density, num_leapfrogs):
    evaluate = value_and_gradient(log_density)

    def moves(key, points, tuning):
        num_chains, dim = points.position.shape
        noise = standard_normals(key, (num_chains, num_noise(dim)), points.position.dtype)

        def move(noise, point):
            return hmc_move(
                noise,
                evaluate,
                identity,
                point,
                factor=tuning.factor,
                step_size=tuning.step_size,
                num_leapfrogs=num_leapfrogs,
            )

        return jax.vmap(move)(noise, points)

    return moves
