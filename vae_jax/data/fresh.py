"""The noise of training images, drawn anew at each step inside the compiled scan.

An observation is a function of stored grey levels and a key: bits x ~ Bernoulli(level / white)
(Burda, Grosse, Salakhutdinov 2016, arXiv 1509.00519, who draw them for each epoch), or pixels
(level + u) / num_levels (Theis, van den Oord, Bethge 2016, arXiv 1511.01844). The makers are
cached: equal arguments give the same function, so that nothing compiles twice.
"""

import functools
from collections.abc import Callable

import jax.numpy as jnp

from vae_jax.data.random_bits import random_bits


@functools.cache
def fresh_bits(num_levels: int) -> Callable:
    """`(key, levels [..., dim]) -> x` of 0 and 1, one with probability level / white.

    16 random bits a pixel miss that probability by at most 2^-16.

    Args:
        num_levels: grey levels 0 .. num_levels - 1, the last of them white.
    """

    def observe(key, levels):
        # 16 bits times white <= 255 are exact in float32.
        uniform = random_bits(key, levels.shape).astype(jnp.uint16).astype(jnp.float32)
        return (uniform * (num_levels - 1) < _float(levels) * 2**16).astype(jnp.float32)

    return observe


@functools.cache
def fresh_unit(num_levels: int) -> Callable:
    """`(key, levels [..., dim]) -> x` in (0, 1).

    Args:
        num_levels: grey levels 0 .. num_levels - 1, each an interval of equal width.
    """

    def observe(key, levels):
        uniform = (random_bits(key, levels.shape) >> 9).astype(jnp.float32) / 2**23
        x = (_float(levels) + uniform) / num_levels
        # In float32 255 + u may round to 256, and u may be 0.
        epsilon = jnp.finfo(jnp.float32).epsneg
        return jnp.clip(x, epsilon, 1 - epsilon)

    return observe


def _float(levels):
    """As they are multiplied: a state begins with bytes, which would wrap."""
    return jnp.asarray(levels, jnp.float32)
