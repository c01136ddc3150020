"""Which pixels of an image are hidden from a model that is to guess them."""

import math
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, PRNGKeyArray

from bayes_jax.errors import InputError

Hidden = Literal["half", "random", "block"]


def hide(
    key: PRNGKeyArray, shape: tuple[int, int], num: int, *, hidden: Hidden, share: float
) -> Bool[Array, "image dim"]:
    """Masks that are True where a pixel is hidden, as many pixels in every image.

    Args:
        key: a PRNG key; "half" needs none.
        shape: (height, width).
        num: how many images.
        hidden: the lowest rows ("half"), pixels here and there ("random"), or a rectangle of the
            image's proportions somewhere ("block").
        share: of the pixels, in (0, 1], rounded to whole rows, pixels, or sides.

    Returns:
        Masks, pixels in reading order.

    Raises:
        InputError: a share of less than a pixel, a row, or a side.
    """
    of_one = {"half": _lowest_rows, "random": _scattered, "block": _block}[hidden]
    keys = jax.random.split(key, num)
    masks = jax.vmap(lambda key: of_one(key, shape, share).reshape(-1))(keys)
    if not bool(jnp.all(jnp.any(masks, axis=1))):
        size = " x ".join(map(str, shape))
        raise InputError(f"share is {share}: expected enough to hide something of {size} pixels")
    return masks


def _lowest_rows(key, shape, share):
    del key
    height = shape[0]
    return jnp.broadcast_to(jnp.arange(height)[:, None] >= height - round(share * height), shape)


def _scattered(key, shape, share):
    num = math.prod(shape)
    return jax.random.permutation(key, jnp.arange(num) < round(share * num))


def _block(key, shape, share):
    def side(key, length):
        covered = round(math.sqrt(share) * length)
        start = jax.random.randint(key, (), 0, length - covered + 1)
        return (jnp.arange(length) >= start) & (jnp.arange(length) < start + covered)

    key_rows, key_columns = jax.random.split(key)
    return side(key_rows, shape[0])[:, None] & side(key_columns, shape[1])
