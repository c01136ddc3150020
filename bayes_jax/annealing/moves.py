"""Transitions of the chains of ONE x at one inverse temperature; each leaves f_beta invariant.

All are reversible, so the reverse of a walk uses them as they are; "hmc_bfloat16" too, whose
forces are rough and whose energies are not (see `bayes_jax.mcmc.targets`).
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree
from numpyro.distributions import Distribution

from bayes_jax.annealing.path import GaussianStart, Path
from bayes_jax.hamiltonian import Point, hmc_move, identity, num_noise
from bayes_jax.mcmc.targets import ForceDtype, Target, make_target
from bayes_jax.noise import standard_normals

# At equal cost many short moves beat few long ones: on a trained 16-d decoder two leapfrogs at 250
# temperatures left half the standard error of five at 100.
NUM_LEAPFROGS = 2
# An elliptical move stays where it is after so many points; reversible all the same, for the way
# back meets the same brackets.
MAX_TRIES = 40


class Terms(NamedTuple):
    """log q0 and the bridge U = log p(x, z) - log q0 at one z: all temperatures from one pass.

    Attributes:
        start: log q0, nats.
        bridge: U, nats.
        start_gradient: of log q0, `[latent]`; None where no move asks for it.
        bridge_gradient: of U, likewise.
    """

    start: Float[Array, "*chain"]
    bridge: Float[Array, "*chain"]
    start_gradient: Float[Array, "*chain latent"] | None
    bridge_gradient: Float[Array, "*chain latent"] | None


class Moved(NamedTuple):
    """All chains after a move.

    Attributes:
        points: where they stand, leaves `[chain, ...]`.
        accept_prob: of the proposals, `[chain]`.
        num_grads: evaluations of log p(x, z), with its gradient or without, all chains.
    """

    points: Point
    accept_prob: Float[Array, " chain"]
    num_grads: Int[Array, ""]


class Transition(NamedTuple):
    """A kind of move.

    Attributes:
        target: `(density, start) -> Target`, whose terms are Terms.
        move: `(key, target, path, points, beta, step_size, num_leapfrogs) -> Moved`.
    """

    target: Callable
    move: Callable


def _with_forces(
    density: Callable, start: Distribution | GaussianStart, *, force_dtype: ForceDtype
) -> Target:
    start_value = jax.value_and_grad(start.log_prob)
    target = make_target(density, force_dtype)

    def evaluate(z) -> Terms:
        start_log_prob, start_gradient = start_value(z)
        value, force = target.evaluate(z)
        return Terms(start_log_prob, value - start_log_prob, start_gradient, force - start_gradient)

    def settle(point: Point) -> Point:
        bridge = density(point.position) - point.terms.start
        return point._replace(terms=point.terms._replace(bridge=bridge))

    return Target(evaluate, identity if force_dtype == "float32" else settle)


def _hmc(key, target: Target, path: Path, points: Point, beta, step_size, num_leapfrogs) -> Moved:
    def combine(terms: Terms):
        return (
            terms.start + beta * terms.bridge,
            terms.start_gradient + beta * terms.bridge_gradient,
        )

    factor = path.factor(beta)

    def move(noise, point):
        return hmc_move(
            noise,
            target.evaluate,
            combine,
            point,
            factor=factor,
            step_size=step_size,
            num_leapfrogs=num_leapfrogs,
            settle=target.settle,
        )

    num_chains, dim = points.position.shape
    noise = standard_normals(key, (num_chains, num_noise(dim)), points.position.dtype)
    points, info = jax.vmap(move)(noise, points)
    num_each = num_leapfrogs + target.num_settling
    return Moved(points, info.accept_prob, jnp.asarray(num_chains * num_each))


def _without_forces(density: Callable, start: GaussianStart) -> Target:
    def evaluate(z) -> Terms:
        start_log_prob = start.log_prob(z)
        return Terms(start_log_prob, density(z) - start_log_prob, None, None)

    return Target(evaluate, identity)


class _Ellipse(NamedTuple):
    """The search along one ellipse: bracket and last try."""

    low: Float[Array, ""]
    high: Float[Array, ""]
    point: PyTree
    found: Array
    num_tries: Int[Array, ""]


def _elliptical(key, target, path: Path, points: Point, beta, step_size, num_leapfrogs) -> Moved:
    del step_size, num_leapfrogs
    keys = jax.random.split(key, len(points.position))
    points, num_tries = jax.vmap(
        lambda key, point: _slice(key, target.evaluate, path, point, beta)
    )(keys, points)
    return Moved(points, jnp.ones(len(points.position)), jnp.sum(num_tries))


def _slice(key, evaluate, path: Path, point: Point, beta) -> tuple[Point, Int[Array, ""]]:
    """Elliptical slice sampling of q0(z) exp(beta U(z)) (Murray, Adams, MacKay 2010)."""
    key_other, key_height, key_angle, key_tries = jax.random.split(key, 4)
    centred = point.position - path.start.loc
    other = path.start.sample(key_other) - path.start.loc
    height = beta * point.terms.bridge - jax.random.exponential(key_height)

    def attempt(angle) -> tuple[Point, Array]:
        z = path.start.loc + jnp.cos(angle) * centred + jnp.sin(angle) * other
        tried = Point(z, evaluate(z))
        # A NaN is above no height.
        return tried, beta * tried.terms.bridge > height

    def shrink(search: _Ellipse) -> _Ellipse:
        unit = jax.random.uniform(jax.random.fold_in(key_tries, search.num_tries))
        angle = search.low + unit * (search.high - search.low)
        tried, found = attempt(angle)
        return _Ellipse(
            jnp.where(angle < 0, angle, search.low),
            jnp.where(angle < 0, search.high, angle),
            tried,
            found,
            search.num_tries + 1,
        )

    angle = 2 * jnp.pi * jax.random.uniform(key_angle)
    tried, found = attempt(angle)
    search = jax.lax.while_loop(
        lambda search: ~search.found & (search.num_tries < MAX_TRIES),
        shrink,
        _Ellipse(angle - 2 * jnp.pi, angle, tried, found, jnp.ones((), jnp.int32)),
    )
    kept = jax.tree.map(lambda new, old: jnp.where(search.found, new, old), search.point, point)
    return kept, search.num_tries


TRANSITIONS: dict[str, Transition] = {
    "hmc": Transition(partial(_with_forces, force_dtype="float32"), _hmc),
    "hmc_bfloat16": Transition(partial(_with_forces, force_dtype="bfloat16"), _hmc),
    "elliptical": Transition(_without_forces, _elliptical),
}
