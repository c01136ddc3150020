"""Memorisation: do generated images lie closer to the training images than fresh images do?"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.stats import mannwhitneyu

from vae_jax.quality.distances import neighbour_distance

QUANTILE = 0.05
"""Of the test images' distances: what is nearer to a training image counts as close."""

_nearest = jax.jit(neighbour_distance)


class Memorisation(NamedTuple):
    """Distances of generated images to their nearest training image, against those of test images.

    Attributes:
        close_share: of the generated images, nearer than all but 5 % of the test images are; 0.05
            or less for fresh images.
        p_value: of generated images as far as test images, against nearer.
    """

    close_share: float
    p_value: float


def memorisation(
    generated: Float[Array, "num dim"],
    train: Float[Array, "train dim"],
    test: Float[Array, "test dim"],
) -> Memorisation:
    """The data-copying test: a Mann-Whitney test of nearest distances, in pixels.

    Meehan, Chaudhuri, Dasgupta 2020, "A non-parametric test to detect data-copying in generative
    models", arXiv 2004.05675, with one cell. Images smoother than the data are near everything and
    pass for copies: read it beside precision and the other tests.

    Args:
        generated: images.
        train: images that the model has seen.
        test: images that it has not.
    """
    found, fresh = _nearest(generated, train), _nearest(test, train)
    closest = jnp.quantile(fresh, QUANTILE, method="lower")
    test = mannwhitneyu(np.asarray(found), np.asarray(fresh), alternative="less")
    return Memorisation(float(jnp.mean(found < closest)), float(test.pvalue))
