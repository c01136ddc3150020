"""Precision and recall: are the generated images like real ones, and are all real ones met?"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from bayes_jax.batching import map_rows
from bayes_jax.errors import InputError
from vae_jax.quality.distances import ROWS_AT_ONCE, neighbour_distance, squared_distances


class PrecisionRecall(NamedTuple):
    """Shares of two samples that lie on each other's manifold.

    Attributes:
        precision: of the generated images among the real ones: fidelity.
        recall: of the real images among the generated ones: coverage; it rises with their number.
    """

    precision: Float[Array, ""]
    recall: Float[Array, ""]


def precision_recall(
    real: Float[Array, "num dim"], generated: Float[Array, "other dim"], *, num_neighbours: int = 3
) -> PrecisionRecall:
    """Improved precision and recall.

    A sample's manifold is the union of balls around its points, each as wide as the distance to the
    `num_neighbours`-th nearest other point. Kynkäänniemi, Karras, Laine, Lehtinen, Aila 2019,
    "Improved precision and recall metric for assessing generative models", arXiv 1904.06991,
    equations 1 and 2.

    Args:
        real: features of real images.
        generated: of generated ones; compare models at one number of them.
        num_neighbours: k of the paper.

    Raises:
        InputError: samples of k points or fewer.
    """
    least = min(len(real), len(generated))
    if not 1 <= num_neighbours < least:
        raise InputError(
            f"num_neighbours is {num_neighbours} for {least} images: expected 1 to {least - 1}"
        )
    return _precision_recall(real, generated, num_neighbours=num_neighbours)


@partial(jax.jit, static_argnames="num_neighbours")
def _precision_recall(real, generated, *, num_neighbours):
    return PrecisionRecall(
        _share_inside(generated, real, num_neighbours),
        _share_inside(real, generated, num_neighbours),
    )


def _share_inside(points, centres, num_neighbours):
    # The nearest of all centres is the centre itself.
    radii = neighbour_distance(centres, centres, rank=num_neighbours + 1)

    def is_inside(point):
        return jnp.any(squared_distances(point, centres) <= radii**2)

    return jnp.mean(map_rows(is_inside, points, batch_size=ROWS_AT_ONCE))
