"""Weighted chains of a batch of x, step by step: `init`, `advance`, `log_weight`, all pure.

A chain walks its path and gathers, with U = log p(x, z) - log q0(z),

    log w = sum_t (beta_t - beta_{t-1}) U(z_{t-1}),      one move at beta_t between two terms.

Forward, from an exact draw of q0, E[w] = p(x). Backward the same sum has the other sign: from an
exact draw of the posterior, E[w] = 1 / p(x). Whatever a walk needs to go on is in `Chains`, a
pytree: stopped and continued, it gives the weights of one that was not.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.tree_util import Partial
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from bayes_jax.annealing.moves import TRANSITIONS
from bayes_jax.annealing.path import Path
from bayes_jax.annealing.pilot import make_path
from bayes_jax.annealing.schedules import check_schedule
from bayes_jax.annealing.settings import Settings
from bayes_jax.batching import Index, check_batch, map_observations, map_rows
from bayes_jax.errors import InputError
from bayes_jax.estimates import WeightedDraws
from bayes_jax.hamiltonian import Point
from bayes_jax.model import Guide, LatentModel, check_observations, compilable, log_joint
from bayes_jax.noise import independent_draws


class Chains(NamedTuple):
    """Chains of a batch between two calls.

    Attributes:
        key: of each x, `[batch]`.
        path: of each x, leaves `[batch, ...]`.
        points: where the chains stand, leaves `[batch, chain, ...]`.
        log_weight: gathered so far in nats, `[batch, chain]`.
        num_grads: spent so far, those on the path included, `[batch]`.
        num_moves: made so far, the same for all; None inside an x.
    """

    key: PRNGKeyArray
    path: Path
    points: Point
    log_weight: Float[Array, "*batch chain"]
    num_grads: Int[Array, "*batch"]
    num_moves: Int[Array, ""] | None

    @property
    def total_moves(self) -> int:
        """Of the whole walk: one at each temperature between the ends."""
        return self.path.betas.shape[-1] - 2


def init(
    key: PRNGKeyArray,
    model: LatentModel,
    x: PyTree,
    betas: Float[Array, " step"],
    *,
    settings: Settings,
    guide: Guide | None = None,
    z: Float[Array, "batch latent"] | None = None,
    index_offset: Index = 0,
) -> Chains:
    """Find the path of each x and put its chains at the start.

    Args:
        key: a PRNG key.
        model: p(z) p(x | z).
        x: `[batch, ...]`.
        betas: inverse temperatures, rising from 0 to 1.
        settings: from `make_settings`, which gives betas too; the same in every later call.
        guide: ONE x -> q(z | x).
        z: exact posterior draws; the chains then walk back from there.
        index_offset: index of x[0] in the whole data set.

    Raises:
        InputError: on x the likelihood gives no density, betas that do not rise from 0 to 1, or z
            and x that do not pair up.
    """
    model, guide = compilable(model), compilable(guide)
    check_schedule(betas)
    check_batch((x, z), settings.batch_size)
    check_observations(model, x)
    return _init(key, model, guide, x, betas, z, index_offset, settings)


def advance(
    model: LatentModel,
    x: PyTree,
    chains: Chains,
    *,
    settings: Settings,
    num_moves: int | None = None,
) -> Chains:
    """Make the next moves.

    Args:
        model: as in `init`.
        x: as in `init`.
        chains: from `init`, or from an earlier call.
        settings: as in `init`.
        num_moves: None makes all that are left of `chains.total_moves`.

    Raises:
        InputError: fewer moves are left.
    """
    left = chains.total_moves - int(chains.num_moves)
    num_moves = left if num_moves is None else num_moves
    if not 0 <= num_moves <= left:
        raise InputError(f"num_moves is {num_moves}: expected 0 to {left}, those left of the walk")
    return _advance(compilable(model), x, chains, settings, num_moves)


def log_weight(chains: Chains) -> Float[Array, "*batch chain"]:
    """The weights of chains at the end of their walk, in nats.

    Raises:
        InputError: the walk is not at its end; what it has gathered bounds nothing yet.
    """
    if chains.num_moves is not None and int(chains.num_moves) < chains.total_moves:
        raise InputError(
            f"the walk has made {int(chains.num_moves)} of {chains.total_moves} moves: "
            "`advance` it to its end first"
        )
    last_step = chains.path.betas[..., -1] - chains.path.betas[..., -2]
    return chains.log_weight + last_step[..., None] * chains.points.terms.bridge


def weighted_draws(chains: Chains) -> WeightedDraws:
    """Where chains stand at the end of their walk, with their weights.

    Raises:
        InputError: as `log_weight`.
    """
    return WeightedDraws(chains.points.position, log_weight(chains), chains.num_grads)


@partial(jax.jit, static_argnums=7)
def _init(key, model, guide, x, betas, z, index_offset, settings):
    def one(key, row):
        x, z = row
        # The keys of the whole walks in `engines`, so that a walk in steps is the same walk.
        key_path, key_there, key_back = jax.random.split(key, 3)
        density = joint_density(model, x)
        path = make_path(key_path, model, density, x, guide=guide, betas=betas, settings=settings)
        if z is None:
            return start_forward(key_there, density, path, settings)
        return start_backward(key_back, density, path, z, settings)

    chains = map_observations(
        one, key, (x, z), batch_size=settings.batch_size, index_offset=index_offset
    )
    return chains._replace(num_moves=jnp.zeros((), jnp.int32))


@partial(jax.jit, static_argnums=(3, 4))
def _advance(model, x, chains, settings, num_moves):
    def one(row):
        x, chains = row
        return walk(joint_density(model, x), chains, settings, first=first, num_moves=num_moves)

    first = chains.num_moves
    rows = (x, chains._replace(num_moves=None))
    moved = map_rows(one, rows, batch_size=settings.batch_size)
    return moved._replace(num_moves=first + num_moves)


def joint_density(model: LatentModel, x: PyTree) -> Partial:
    """z -> log p(x, z), as a pytree."""
    return Partial(_joint_density, model, x)


def _joint_density(model, x, z):
    return log_joint(model, z, x)


def start_forward(key: PRNGKeyArray, density: Partial, path: Path, settings: Settings) -> Chains:
    """Chains of ONE x at exact draws of q0."""
    key_start, key_moves = jax.random.split(key)
    z = independent_draws(key_start, path.start, settings.num_chains)
    return _start(key_moves, density, path, z, settings)


def start_backward(
    key: PRNGKeyArray, density: Partial, path: Path, z: Float[Array, "..."], settings: Settings
) -> Chains:
    """Chains of ONE x at posterior draws: z `[latent]` for all of them, or `[chain, latent]`."""
    z = jnp.broadcast_to(z, (settings.num_chains, z.shape[-1]))
    return _start(key, density, path.reversed(), z, settings)


def _start(key, density, path: Path, z, settings: Settings) -> Chains:
    target = TRANSITIONS[settings.transition].target(density, path.start)
    points = jax.vmap(target.start)(z)
    num_grads = path.num_grads + len(z) * (1 + target.num_settling)
    return Chains(key, path, points, jnp.zeros_like(points.terms.bridge), num_grads, None)


def walk(
    density: Partial, chains: Chains, settings: Settings, *, first=0, num_moves: int | None = None
) -> Chains:
    """Moves `first` to `first + num_moves` of the chains of ONE x; all of them if None."""
    transition = TRANSITIONS[settings.transition]
    path, key = chains.path, chains.key
    target = transition.target(density, path.start)

    def one_step(carry, index):
        points, log_weight, num_grads = carry
        beta = path.betas[index + 1]
        log_weight = log_weight + (beta - path.betas[index]) * points.terms.bridge
        moved = transition.move(
            jax.random.fold_in(key, index),
            target,
            path,
            points,
            beta,
            path.step_size(beta),
            settings.num_leapfrogs,
        )
        return (moved.points, log_weight, num_grads + moved.num_grads), None

    carry = (chains.points, chains.log_weight, chains.num_grads)
    num_moves = chains.total_moves if num_moves is None else num_moves
    (points, log_weight, num_grads), _ = jax.lax.scan(
        one_step, carry, first + jnp.arange(num_moves)
    )
    return chains._replace(points=points, log_weight=log_weight, num_grads=num_grads)
