"""As many pixels are hidden as were asked for, where they were asked for."""

import jax
import numpy as np
import pytest

from bayes_jax.errors import InputError
from vae_jax.hidden_pixels import hide

KEY = jax.random.key(0)


def masks(shape=(8, 6), num=5, **options):
    return np.asarray(hide(KEY, shape, num, **options)).reshape(num, *shape)


def test_half_hides_the_lowest_rows():
    found = masks(hidden="half", share=0.5)
    assert not found[:, :4].any()
    assert found[:, 4:].all()


def test_random_hides_its_share_elsewhere_in_every_image():
    found = masks(hidden="random", share=0.25)
    assert (found.sum(axis=(1, 2)) == 12).all()
    assert len(np.unique(found, axis=0)) == 5


def test_a_block_is_one_rectangle_somewhere():
    found = masks(hidden="block", share=0.25, num=20)
    for mask in found:
        rows, columns = mask.any(axis=1), mask.any(axis=0)
        assert (rows.sum(), columns.sum()) == (4, 3)
        np.testing.assert_array_equal(mask, rows[:, None] & columns)
        assert len(np.trim_zeros(rows)) == 4
    assert len(np.unique(found, axis=0)) > 5


@pytest.mark.parametrize("hidden", ["half", "random", "block"])
def test_everything_can_be_hidden_and_nothing_cannot(hidden):
    assert masks(hidden=hidden, share=1.0).all()
    with pytest.raises(InputError, match=r"share is 0.001: expected enough to hide .* 8 x 6"):
        masks(hidden=hidden, share=0.001)
