"""Bits that fuse are those of the paper and of jax; noise made of them is independent."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from vae_jax.data.fresh import fresh_bits, fresh_unit
from vae_jax.data.random_bits import _threefry, random_bits

KEY = jax.random.key(3)


@pytest.mark.parametrize(
    ("counters", "key", "expected"),
    [
        ((0x00000000, 0x00000000), (0x00000000, 0x00000000), (0x6B200159, 0x99BA4EFE)),
        ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
        ((0x243F6A88, 0x85A308D3), (0x13198A2E, 0x03707344), (0xC4923A9C, 0x483DF7A0)),
    ],
)
def test_words_are_the_known_answers_of_random123(counters, key, expected):
    words = _threefry(jnp.array(key, jnp.uint32), *map(jnp.uint32, counters))
    assert tuple(map(int, words)) == expected


@pytest.mark.parametrize("generator", ["threefry2x32", "rbg", "unsafe_rbg"])
@pytest.mark.parametrize("shape", [(), (1,), (7,), (3, 5), (2, 3, 7), (0, 4)])
def test_bits_are_those_of_jax(generator, shape):
    key = jax.random.key(3, impl=generator)
    bits = random_bits(key, shape)
    assert bits.dtype == jnp.uint32
    np.testing.assert_array_equal(bits, jax.random.bits(key, shape))


@pytest.mark.parametrize("generator", ["threefry2x32", "rbg"])
def test_words_have_32_bits_in_double_precision_too(generator):
    key = jax.random.key(3, impl=generator)
    bits = random_bits(key, (3, 5))
    with jax.enable_x64():
        np.testing.assert_array_equal(random_bits(key, (3, 5)), bits)


def test_many_keys_at_once_draw_what_each_draws_alone():
    keys = jax.random.split(KEY, 3)
    together = jax.vmap(partial(random_bits, shape=(4, 5)))(keys)
    np.testing.assert_array_equal(together, [random_bits(key, (4, 5)) for key in keys])


def test_rounds_are_no_loop():
    """Nothing fuses with a loop. Bits of our own are needed for as long as jax's are one."""

    def program(draw):
        return jax.jit(draw).trace(KEY).lower(lowering_platforms=("cpu",)).as_text()

    assert "while" in program(partial(jax.random.bits, shape=(3, 5)))
    assert "while" not in program(partial(random_bits, shape=(3, 5)))


@pytest.mark.parametrize("make", [fresh_bits, fresh_unit])
def test_noise_of_pixels_images_and_keys_is_independent(make):
    levels = jnp.full((200, 300), 8.0)
    one, other = (np.asarray(make(17)(jax.random.key(seed), levels)) for seed in (0, 1))
    pairs = {
        "pixels": (one[:, 1:], one[:, :-1]),
        "images": (one[1:], one[:-1]),
        "keys": (one, other),
    }
    for name, (left, right) in pairs.items():
        correlation = stats.pearsonr(left.ravel(), right.ravel()).statistic
        assert abs(correlation) < 4 / np.sqrt(left.size), name
