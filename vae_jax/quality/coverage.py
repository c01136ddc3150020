"""Class coverage: how many of the classes of the data a model generates."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

LEAST_SHARE = 0.2
"""Of a class's share of the training images, below which it counts as missing."""


def class_shares(classes: Int[Array, " num"], *, num_classes: int) -> Float[Array, " class"]:
    """The share of every class 0 .. num_classes - 1."""
    return jnp.bincount(classes, length=num_classes) / len(classes)


def count_classes(
    generated: Float[Array, " class"], train: Float[Array, " class"]
) -> Int[Array, ""]:
    """How many classes of the training images are generated at all often.

    Args:
        generated: share of every class of the generated images, as a classifier sees them.
        train: of the training images.
    """
    return jnp.sum((train > 0) & (generated >= LEAST_SHARE * train))
