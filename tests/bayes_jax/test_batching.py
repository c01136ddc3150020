"""Keys come from the index alone, and neither chunks nor shards change a row."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bayes_jax.batching import check_batch, map_observations
from bayes_jax.errors import InputError

KEY = jax.random.key(3)
DATA = {"scale": jnp.arange(1.0, 8.0), "loc": jnp.arange(14.0).reshape(7, 2)}


def one(key, row):
    return {"z": row["loc"] + row["scale"] * jax.random.normal(key, (2,)), "row": row["scale"]}


def by_hand(index_offset=0):
    rows = [
        one(jax.random.fold_in(KEY, index_offset + index), {"scale": scale, "loc": loc})
        for index, (scale, loc) in enumerate(zip(DATA["scale"], DATA["loc"], strict=True))
    ]
    return jax.tree.map(lambda *leaves: np.stack(leaves), *rows)


@pytest.mark.parametrize("batch_size", [None, 1, 3, 7, 100])
def test_each_row_is_the_function_of_its_own_key(batch_size):
    found = map_observations(one, KEY, DATA, batch_size=batch_size)
    for name, expected in by_hand().items():
        np.testing.assert_allclose(found[name], expected, rtol=1e-6)


def test_offset_names_the_row_in_the_whole_data_set():
    tail = jax.tree.map(lambda leaf: leaf[4:], DATA)
    for index_offset in (4, jnp.asarray(4)):
        found = map_observations(one, KEY, tail, batch_size=2, index_offset=index_offset)
        np.testing.assert_allclose(found["z"], by_hand()["z"][4:], rtol=1e-6)
    shifted = map_observations(one, KEY, DATA, index_offset=10)
    np.testing.assert_allclose(shifted["z"], by_hand(10)["z"], rtol=1e-6)


def test_rows_in_memory_are_bounded_by_batch_size():
    """The function sees at most `batch_size` rows at once: the traced chunk has that axis."""
    chunked = jax.make_jaxpr(lambda key, data: map_observations(one, key, data, batch_size=3))
    text = str(chunked(KEY, DATA))
    assert "f32[3,2]" in text
    assert "scan" in text
    whole = jax.make_jaxpr(lambda key, data: map_observations(one, key, data))
    assert "scan" not in str(whole(KEY, DATA))


@pytest.mark.parametrize(
    ("data", "batch_size", "words"),
    [
        ((np.zeros((3, 2)), np.zeros(4)), None, r"leading axes of the data are \[3, 4\]"),
        (np.zeros((0, 2)), None, r"leading axes of the data are \[0\]"),
        (np.zeros(()), None, r"leading axes of the data are \[0\]"),
        ({}, None, r"leading axes of the data are \[\]"),
        (np.zeros((3, 2)), 0, "batch_size is 0"),
        (np.zeros((3, 2)), -2, "batch_size is -2"),
    ],
)
def test_unusable_batches_are_named(data, batch_size, words):
    with pytest.raises(InputError, match=words) as error:
        check_batch(data, batch_size)
    assert "\n" not in str(error.value)


def test_usable_batches_pass():
    check_batch(DATA, None)
    check_batch(np.zeros((3, 2)), 100)
