"""Distances between images: of ONE to many, and of many to their neighbours in bounded memory."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from bayes_jax.batching import map_rows

ROWS_AT_ONCE = 256
"""Rows of a matrix of distances or kernels in memory at once."""


def squared_distances(
    x: Float[Array, " dim"], others: Float[Array, "num dim"]
) -> Float[Array, " num"]:
    """|x - y|^2 for every other y; exact for bits, else to float32's rounding of |x|^2."""
    product = jnp.dot(others, x, precision="highest")
    return jnp.maximum(jnp.sum(x**2) + jnp.sum(others**2, axis=1) - 2 * product, 0.0)


def neighbour_distance(
    x: Float[Array, "num dim"], others: Float[Array, "other dim"], *, rank: int = 1
) -> Float[Array, " num"]:
    """Distance of every x to its `rank`-th nearest of the others.

    Args:
        x: from where.
        others: to where; where they are x itself, rank 2 is the nearest that is another row.
        rank: 1 for the nearest.
    """

    def one(x):
        return -jax.lax.top_k(-squared_distances(x, others), rank)[0][-1]

    return jnp.sqrt(map_rows(one, x, batch_size=ROWS_AT_ONCE))
