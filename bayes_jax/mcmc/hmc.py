"""Batched HMC of fixed shape: many chains of ONE x in lock step, tuned across its chains.

Every move costs the same number of gradients, so a batch of posteriors wastes nothing on waiting
for the slowest, as a vmapped tree sampler would. `init`, `step`, `warm_up` and `sample` are pure,
and what they need to go on is in the state.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from bayes_jax.hamiltonian import MoveInfo, Point, hmc_move, identity, num_noise
from bayes_jax.mcmc import adaptation
from bayes_jax.mcmc.adaptation import Tuning, WarmUp
from bayes_jax.mcmc.climb import NUM_STEPS, climb
from bayes_jax.mcmc.kept import Kept
from bayes_jax.mcmc.targets import Target
from bayes_jax.noise import standard_normals

# Gradients per move, and the longest path in whitened units, chosen by effective draws per gradient
# on trained decoders, of means and of squares (`benchmarks/path_length.py`). Past a quarter turn,
# pi / 2, a Gaussian comes back to where it was and its squares stop mixing, however many gradients
# are spent.
NUM_LEAPFROGS = 5
MAX_PATH = 2.0


class HMCState(NamedTuple):
    """The chains of one x and what they have learned.

    Attributes:
        points: where the chains stand, leaves `[chain, ...]`; terms: log density and force.
        tuning: step sizes, and the preconditioner that the chains share.
        warm_up: what the warm-up has gathered.
    """

    points: Point
    tuning: Tuning
    warm_up: WarmUp


def init(
    target: Target,
    positions: Float[Array, "chain latent"],
    factor: Float[Array, "latent latent"],
    trusted: Float[Array, " chain"] | None = None,
) -> HMCState:
    """Evaluate the density where the chains start.

    Args:
        target: log density and force.
        positions: where the chains start.
        factor: whitens the target until the chains know better.
        trusted: 1 for the chains whose draws the covariance is taken of, else 0; None: all.
    """
    points = jax.vmap(target.start)(positions)
    tuning = adaptation.initial_tuning(factor, positions)
    if trusted is None:
        trusted = jnp.ones(len(positions))
    return HMCState(points, tuning, adaptation.start(tuning, positions, trusted))


def step(
    key: PRNGKeyArray, target: Target, state: HMCState, *, num_leapfrogs: int = NUM_LEAPFROGS
) -> tuple[HMCState, MoveInfo]:
    """Move every chain once; the tuning stays."""
    num_chains, dim = state.points.position.shape
    noise = standard_normals(key, (num_chains, num_noise(dim)), state.points.position.dtype)

    def move(noise, step_size, point):
        return hmc_move(
            noise,
            target.evaluate,
            identity,
            point,
            factor=state.tuning.factor,
            step_size=step_size,
            num_leapfrogs=num_leapfrogs,
            settle=target.settle,
        )

    points, info = jax.vmap(move)(noise, state.tuning.step_size, state.points)
    return state._replace(points=points), info


def warm_up(
    key: PRNGKeyArray,
    target: Target,
    state: HMCState,
    *,
    num_warmup: int,
    first: int | Int[Array, ""] = 0,
    num_moves: int | None = None,
    num_leapfrogs: int = NUM_LEAPFROGS,
    far_starts: bool = False,
) -> HMCState:
    """Adapt step size and preconditioner; after `num_warmup` moves they stay.

    Args:
        key: of this x; move i takes `fold_in(key, i)`.
        target: log density and force.
        state: from `init`, or from a warm-up that has not come to its end.
        num_warmup: moves of the whole warm-up.
        first: index of the first move made now.
        num_moves: how many are made now; None makes all that `num_warmup` says.
        num_leapfrogs: gradients per move.
        far_starts: in the first window every chain searches a step size of its own, and at its end
            those far below the others climb.
    """
    num_moves = num_warmup if num_moves is None else num_moves
    if num_moves == 0:
        return state

    def one_move(state, indexed_phase):
        index, phase = indexed_phase
        move_key = jax.random.fold_in(key, index)
        state, info = step(move_key, target, state, num_leapfrogs=num_leapfrogs)
        if far_starts:
            rescue = partial(_rescue, target)
            state = jax.lax.cond(phase.rescues, rescue, lambda state: state, state)
        warm, tuning = adaptation.learn(
            phase,
            state.warm_up,
            state.tuning,
            state.points.position,
            state.points.terms[0],
            info.accept_prob,
            max_step_size=MAX_PATH / num_leapfrogs,
        )
        return HMCState(state.points, tuning, warm), None

    index = first + jnp.arange(num_moves)
    schedule = adaptation.schedule(num_warmup, far_starts=far_starts)
    phases = jax.tree.map(lambda leaf: leaf[index], schedule)
    return jax.lax.scan(one_move, state, (index, phases))[0]


def _rescue(target: Target, state: HMCState) -> HMCState:
    points, trusted = state.points, state.warm_up.trusted
    near = adaptation.near_the_others(points.terms[0], trusted, dim=points.position.shape[-1])

    def rescue(near, point):
        highest = climb(target, point, state.tuning.factor)
        return jax.tree.map(lambda here, high: jnp.where(near, here, high), point, highest)

    return state._replace(points=jax.vmap(rescue)(near, points))


def sample(
    key: PRNGKeyArray,
    target: Target,
    state: HMCState,
    *,
    num_samples: int,
    first: int | Int[Array, ""],
    num_leapfrogs: int = NUM_LEAPFROGS,
) -> tuple[HMCState, Kept]:
    """`num_samples` moves, kept.

    Args:
        key: of this x; move i takes `fold_in(key, i)`.
        target: log density and force.
        state: warmed up.
        num_samples: moves.
        first: index of the first one, the number of moves already made.
        num_leapfrogs: gradients per move.
    """

    def one_move(state, index):
        move_key = jax.random.fold_in(key, index)
        state, info = step(move_key, target, state, num_leapfrogs=num_leapfrogs)
        return state, (state.points.position, state.points.terms[0], info)

    state, kept = jax.lax.scan(one_move, state, first + jnp.arange(num_samples))
    z, log_density, info = jax.tree.map(lambda leaf: jnp.swapaxes(leaf, 0, 1), kept)
    accept, diverging = jnp.mean(info.accept_prob), jnp.sum(info.diverging)
    return state, Kept(z, log_density, info.energy, accept, diverging)


def num_gradients(
    num_chains: int,
    num_moves: int | Int[Array, ""],
    *,
    num_leapfrogs: int = NUM_LEAPFROGS,
    has_climbed: bool | Bool[Array, ""] = False,
) -> int | Int[Array, ""]:
    """Gradients that all chains take: at the start, in their moves, and in a climb.

    Args:
        num_chains: of one x.
        num_moves: made so far.
        num_leapfrogs: gradients per move.
        has_climbed: after a first window with far starts. All chains are charged for the climb: in
            lock step all make it.
    """
    return num_chains * (1 + num_moves * num_leapfrogs + has_climbed * NUM_STEPS)
