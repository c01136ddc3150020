"""Ascent of log densities: how a chain left far below the others finds the foot of its mode."""

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from bayes_jax.hamiltonian import Point
from bayes_jax.mcmc.targets import Target

# Far enough for 20 spreads of the starts. Adam's steps are as long on a shelf, where a random walk
# takes for ever, as on a slope.
NUM_STEPS, LEARNING_RATE = 200, 0.1


def climb(target: Target, point: Point, factor: Float[Array, "latent latent"]) -> Point:
    """Adam, uphill from where ONE chain stands; the highest of the start and the end.

    A mode that is all its own the chain does not leave, so that other modes stay in sight.

    Args:
        target: log density and force.
        point: where the chain stands.
        factor: z = factor e, and e takes the steps.

    References:
        Kingma, Ba 2015, "Adam: a method for stochastic optimization", arXiv 1412.6980.
    """
    optimizer = optax.adam(optax.cosine_decay_schedule(LEARNING_RATE, NUM_STEPS))

    def one_step(carry, _):
        point, state = carry
        updates, state = optimizer.update(-factor.T @ point.terms[1], state)
        position = point.position + factor @ updates
        return (Point(position, target.evaluate(position)), state), None

    carry = point, optimizer.init(jnp.zeros_like(point.position))
    (end, _), _ = jax.lax.scan(one_step, carry, length=NUM_STEPS)
    end = target.settle(end)
    higher = end.terms[0] > point.terms[0]
    return jax.tree.map(lambda new, old: jnp.where(higher, new, old), end, point)
