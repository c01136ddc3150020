"""Held-out log p chooses as many components as there are, and a floor."""

import jax
import numpy as np
import pytest

from bayes_jax import InputError
from bayes_jax.exact.mixture_choice import fit_chosen


def test_one_gaussian_is_one_component():
    x = np.random.default_rng(0).normal(size=(300, 2))
    assert len(fit_chosen(jax.random.key(0), x, max_components=2).log_weights) == 1


def test_four_clusters_are_four_components():
    rng = np.random.default_rng(1)
    centres = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]])
    x = centres[rng.integers(4, size=400)] + 0.1 * rng.normal(size=(400, 2))
    found = fit_chosen(jax.random.key(3), x, max_components=8)
    assert len(found.log_weights) == 4
    # Its components are as narrow as those of the data: the highest floor is not chosen.
    assert np.max(found.scale_tril) < 0.2


def test_too_few_rows_are_refused():
    with pytest.raises(InputError, match=r"held_out is 0\.2 of 2 rows"):
        fit_chosen(jax.random.key(0), np.zeros((2, 1)))
