"""The least that a step of the seed VAE can take: its matrix products, and what Adam moves.

The products count twice: at the rate of large square ones, the ceiling of the machine, and as the
step's own shapes take them alone, one after another, which a small batch cannot escape.
"""

import itertools
from dataclasses import dataclass

import harness
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from trainers import HIDDEN_DIMS, LATENT_DIM

ADAM_PASSES = 7
"""Reads of params, gradient and both moments; writes of params and both moments."""


@dataclass(frozen=True)
class Limits:
    """What one step takes at least, in seconds.

    Attributes:
        gemm: its products at the rate of large square ones.
        products: its products alone.
        traffic: params, gradients and moments moved once, as an update does.
    """

    gemm: float
    products: float
    traffic: float

    def shares(self, steps_per_second: float) -> dict[str, float]:
        """Of the ceiling, of the roofline, and of the roofline with the products' own rates."""
        return {
            "share_of_gemm": steps_per_second * self.gemm,
            "share_of_roofline": steps_per_second * (self.gemm + self.traffic),
            "share_of_own_products": steps_per_second * (self.products + self.traffic),
        }


@dataclass(frozen=True)
class Machine:
    """What was measured of it: GFLOP/s of square products, GB/s of an update."""

    gflops: float
    gbytes_per_second: float


def measured(dim: int) -> Machine:
    """The ceilings, now."""
    return Machine(harness.gemm_ceiling(), harness.memory_bandwidth(num_weights(dim)))


def limits(machine: Machine, batch_size: int, dim: int) -> Limits:
    """Of a step on a batch of so many pixels."""
    flops, moved = operations(batch_size, dim), ADAM_PASSES * 4 * num_weights(dim)
    return Limits(
        gemm=flops / machine.gflops / 1e9,
        products=seconds_of_products(batch_size, dim),
        traffic=moved / machine.gbytes_per_second / 1e9,
    )


def operations(batch_size: int, dim: int) -> int:
    """Forward, back to the inputs, back to the weights; the pixels need nothing back."""
    return 2 * batch_size * (3 * num_weights(dim) - dim * HIDDEN_DIMS[0])


def num_weights(dim: int) -> int:
    """Of all layers."""
    return sum(a * b for a, b in shapes(dim))


def shapes(dim: int) -> list[tuple[int, int]]:
    """Of the weights, encoder before decoder."""
    encoder = (dim, *HIDDEN_DIMS, 2 * LATENT_DIM)
    decoder = (LATENT_DIM, *HIDDEN_DIMS[::-1], dim)
    return [*itertools.pairwise(encoder), *itertools.pairwise(decoder)]


def seconds_of_products(batch_size: int, dim: int, *, num_steps: int = 50) -> float:
    """Seconds that the products of one step take alone, in a scan as training is one.

    Args:
        batch_size: rows.
        dim: pixels.
        num_steps: in one timed call.
    """
    generator = np.random.default_rng(0)
    weights = [
        jnp.asarray(generator.normal(size=shape) / shape[0] ** 0.5, jnp.float32)
        for shape in shapes(dim)
    ]
    x = jnp.asarray(generator.normal(size=(batch_size, dim)), jnp.float32)

    @jax.jit
    def all_steps(x, weights):
        def one(carry, _):
            return step_of_products(carry[0], weights), None

        return jax.lax.scan(one, (x, weights), length=num_steps)[0]

    return harness.measure(lambda: all_steps(x, weights)).min_seconds / num_steps


def step_of_products(
    x: Float[Array, "batch dim"], weights: list[Array]
) -> tuple[Float[Array, "batch dim"], list[Array]]:
    """The products of a step and nothing else: the gradient of a network without activations.

    Args:
        x: the batch.
        weights: of all layers.

    Returns:
        The logits, which can be the next batch, so that none is left out; a gradient per layer.
    """
    logits, pull_back = jax.vjp(lambda weights: _network(x, weights), weights)
    return logits, *pull_back(logits)


def _network(hidden, weights):
    for weight in weights:
        if hidden.shape[1] > len(weight):
            hidden = sum(jnp.split(hidden, 2, axis=1))  # of loc and scale, z
        hidden = hidden @ weight
    return hidden
