"""What a kernel samples: a log density, and the force that drives the leapfrog along it.

The leapfrog is reversible and preserves volume under ANY force that depends on the position alone,
so HMC stays exact with a cheap force, as long as the accept step takes the energy in full
precision: a rough force costs acceptance and nothing else.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from bayes_jax.hamiltonian import Point, identity, value_and_gradient

ForceDtype = Literal["float32", "bfloat16"]


class Target(NamedTuple):
    """Log density and force of ONE x.

    Attributes:
        evaluate: z -> (log density or a placeholder, force), at every leapfrog.
        settle: point -> the same point with its log density in full precision.
    """

    evaluate: Callable
    settle: Callable

    def start(self, position: Float[Array, " latent"]) -> Point:
        """A point to start from."""
        return self.settle(Point(position, self.evaluate(position)))

    @property
    def num_settling(self) -> int:
        """Evaluations of the density that `settle` takes."""
        return int(self.settle is not identity)


def make_target(log_density: Callable, force_dtype: ForceDtype = "float32") -> Target:
    """The target of a log density.

    Args:
        log_density: z -> nats; a pytree (`jax.tree_util.Partial`), so that its arrays can be cast.
        force_dtype: "bfloat16" casts the arrays of the density and z for the force.
    """
    if force_dtype == "float32":
        return Target(value_and_gradient(log_density), identity)
    force = jax.grad(_cast(log_density, jnp.dtype(force_dtype)))

    def evaluate(z):
        return jnp.zeros((), z.dtype), force(z)

    def settle(point):
        return Point(point.position, (log_density(point.position), point.terms[1]))

    return Target(evaluate, settle)


def _cast(log_density: Callable, dtype) -> Callable:
    def lower(leaf):
        is_array = isinstance(leaf, jax.Array | np.ndarray)  # it may be a function
        is_real = is_array and jnp.issubdtype(leaf.dtype, jnp.floating)
        return jnp.asarray(leaf, dtype) if is_real else leaf

    cheap = jax.tree.map(lower, log_density)
    return lambda z: cheap(z.astype(dtype)).astype(z.dtype)
