"""Stochastic gradient Hamiltonian Monte Carlo: posteriors that only batches of the data show.

Langevin dynamics with friction, discretised so that a position costs one gradient. Its steps are
kick, half a drift, friction with its noise, half a drift (Leimkuhler, Matthews 2013, "Rational
construction of stochastic numerical methods for molecular sampling", arXiv 1203.5428). With exact
gradients the positions of a Gaussian target have its very covariance at any stable step; the common
form (Chen, Fox, Guestrin 2014, arXiv 1402.4102) is off by a share that grows with the step.

There is no accept step. Gradients whose noise has variance V in units of the scale make the chain
hotter by about step_size V / (2 friction): small steps and much friction keep that small.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray, PyTree


class Walker(NamedTuple):
    """Where a chain stands.

    Attributes:
        position: any pytree of float arrays.
        velocity: the same, in units of the scale; at temperature T its entries are about N(0, T).
    """

    position: PyTree
    velocity: PyTree


def at_rest(position: PyTree) -> Walker:
    """A chain that begins without velocity."""
    return Walker(position, jax.tree.map(jnp.zeros_like, position))


def sghmc_step(
    walker: Walker,
    key: PRNGKeyArray,
    gradient: PyTree,
    *,
    scale: PyTree,
    step_size: float,
    friction: float,
    temperature: float = 1.0,
) -> Walker:
    """One step towards exp(log f / temperature), f the target.

        v <- v + h s g;   q <- q + (h / 2) s v;   v <- c v + sqrt((1 - c^2) T) noise;
        q <- q + (h / 2) s v,   with c = exp(-h friction)

    Args:
        walker: where the chain stands.
        key: a PRNG key.
        gradient: g, of log f at the walker's position, or an unbiased estimate of it.
        scale: s, about the standard deviations of f; fixed while the chain runs.
        step_size: h; stable below twice the least standard deviation over its scale.
        friction: 1 forgets the velocity in a time of 1, that is in 1 / h steps.
        temperature: T; 0 descends with momentum.

    Returns:
        The chain a step on.
    """
    decay = jnp.exp(-step_size * friction)
    kick = jax.tree.map(lambda v, s, g: v + step_size * s * g, walker.velocity, scale, gradient)
    noise = jnp.sqrt((1 - decay**2) * temperature)
    velocity = jax.tree.map(lambda v, n: decay * v + noise * n, kick, normals_like(key, kick))
    position = jax.tree.map(
        lambda q, s, before, after: q + 0.5 * step_size * s * (before + after),
        walker.position,
        scale,
        kick,
        velocity,
    )
    return Walker(position, velocity)


def normals_like(key: PRNGKeyArray, tree: PyTree) -> PyTree:
    """Independent standard normals in the shapes of a pytree."""
    leaves, structure = jax.tree.flatten(tree)
    keys = jax.random.split(key, len(leaves))
    drawn = [
        jax.random.normal(key, leaf.shape, leaf.dtype)
        for key, leaf in zip(keys, leaves, strict=True)
    ]
    return structure.unflatten(drawn)
