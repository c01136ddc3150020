"""Random draws in the form that compiles fast.

XLA on CPU takes 2 seconds to compile threefry bits of shape [16, 10] and 0.2 for the same bits as
[160] (jax 0.10.2): the counter of a flat array is a plain iota. Engines compile several of them.
"""

import math
from typing import Any

import jax
from jaxtyping import Array, DTypeLike, Float, PRNGKeyArray


def standard_normals(
    key: PRNGKeyArray, shape: tuple[int, ...], dtype: DTypeLike = float
) -> Float[Array, "..."]:
    """Independent standard normals of any shape, drawn flat.

    Args:
        key: a PRNG key.
        shape: of the result.
        dtype: of the result.
    """
    return jax.random.normal(key, (math.prod(shape),), dtype).reshape(shape)


def independent_draws(
    key: PRNGKeyArray, distribution: Any, num: int
) -> Float[Array, "draw latent"]:
    """`num` draws of a distribution over vectors, each from a key of its own.

    Args:
        key: a PRNG key.
        distribution: with `sample(key)`, event shape `[latent]`, batch shape `()`.
        num: how many.
    """
    return jax.vmap(distribution.sample)(jax.random.split(key, num))
