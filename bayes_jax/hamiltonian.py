"""Hamiltonian moves of ONE chain: leapfrog and the accept step, shared by MCMC and annealing.

The state is a flat vector z; the momentum p is standard normal in the coordinates e of
z = loc + factor e, so `factor factorᵀ` plays the inverse mass matrix:

    p <- p + (step / 2) factorᵀ grad log f(z);   z <- z + step factor p;   p <- p + (step / 2) ...

A density is given in two parts, so that a tempered density need not be evaluated anew when only the
temperature moves: `evaluate(z)` returns any pytree of terms, `combine(terms)` the log density and
its gradient.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.special import ndtr
from jaxtyping import Array, Bool, Float, PyTree

# An energy error beyond this is a divergence (Stan's threshold).
DIVERGENCE_THRESHOLD = 1000.0
# The step is multiplied by U(1 - JITTER, 1 + JITTER): a fixed path length resonates.
JITTER = 0.3


class Point(NamedTuple):
    """Where a chain stands: what the next move needs.

    Attributes:
        position: z, `[latent]`.
        terms: what `evaluate(z)` returned.
    """

    position: Float[Array, " latent"]
    terms: PyTree


class MoveInfo(NamedTuple):
    """How a move went.

    Attributes:
        accept_prob: min(1, exp(-energy error)).
        energy: -log f(z) + |p|^2 / 2 where the move started, in nats.
        diverging: whether the energy error passed the threshold or was not finite.
    """

    accept_prob: Float[Array, ""]
    energy: Float[Array, ""]
    diverging: Bool[Array, ""]


def value_and_gradient(log_density: Callable) -> Callable:
    """`evaluate` for a plain log density: its terms are the value and the gradient."""
    return jax.value_and_grad(log_density)


def identity(value):
    """`combine` for a plain log density; `settle` where the leapfrog lacks nothing."""
    return value


def leapfrog(
    evaluate: Callable,
    combine: Callable,
    point: Point,
    momentum: Float[Array, " latent"],
    *,
    factor: Float[Array, "latent latent"],
    step_size: Float[Array, ""],
    num_leapfrogs: int,
) -> tuple[Point, Float[Array, " latent"]]:
    """`num_leapfrogs` leapfrog steps: reversible, volume-preserving, one gradient a step."""

    def force(terms):
        return factor.T @ combine(terms)[1]

    def one_step(_, carry):
        point, momentum = carry
        momentum = momentum + 0.5 * step_size * force(point.terms)
        position = point.position + step_size * (factor @ momentum)
        point = Point(position, evaluate(position))
        return point, momentum + 0.5 * step_size * force(point.terms)

    return jax.lax.fori_loop(0, num_leapfrogs, one_step, (point, momentum))


def num_noise(latent_dim: int) -> int:
    """Standard normals that one move consumes: the momentum, the jitter, the acceptance."""
    return latent_dim + 2


def hmc_move(
    noise: Float[Array, " noise"],
    evaluate: Callable,
    combine: Callable,
    point: Point,
    *,
    factor: Float[Array, "latent latent"],
    step_size: Float[Array, ""],
    num_leapfrogs: int,
    settle: Callable = identity,
) -> tuple[Point, MoveInfo]:
    """One HMC transition that leaves f invariant (Neal 2011, arXiv 1206.1901, section 3).

    The step size is jittered independently of the state. A proposal of NaN density is rejected.
    All randomness comes in as one vector: drawn for many chains at once it costs one pass of the
    generator instead of five.

    Args:
        noise: `num_noise(latent)` independent standard normals.
        evaluate: z -> terms.
        combine: terms -> (log f, gradient).
        point: where the chain stands, with terms of z.
        factor: preconditioner, factor factorᵀ is about the covariance of f.
        step_size: about 1 for a Gaussian f in few dimensions.
        num_leapfrogs: gradients per move.
        settle: proposal -> the same with log f in full precision, where the leapfrog went without.

    Returns:
        The next point and how the move went.
    """
    momentum = noise[:-2]
    proposal, momentum_end = leapfrog(
        evaluate,
        combine,
        point,
        momentum,
        factor=factor,
        step_size=step_size * (1 + JITTER * (2 * ndtr(noise[-2]) - 1)),
        num_leapfrogs=num_leapfrogs,
    )
    proposal = settle(proposal)
    energy = _energy(combine, point, momentum)
    error = _energy(combine, proposal, momentum_end) - energy
    error = jnp.where(jnp.isnan(error), jnp.inf, error)
    accept_prob = jnp.minimum(1.0, jnp.exp(-error))
    accepted = ndtr(noise[-1]) < accept_prob
    point = jax.tree.map(lambda new, old: jnp.where(accepted, new, old), proposal, point)
    return point, MoveInfo(accept_prob, energy, error > DIVERGENCE_THRESHOLD)


def _energy(combine, point: Point, momentum) -> Float[Array, ""]:
    return -combine(point.terms)[0] + 0.5 * jnp.sum(momentum**2)
