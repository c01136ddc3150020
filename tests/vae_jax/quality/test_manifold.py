"""Precision and recall against sorted distances, and where each of them must fall."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.distance import cdist

from bayes_jax.errors import InputError
from vae_jax.quality.distances import ROWS_AT_ONCE, neighbour_distance
from vae_jax.quality.manifold import precision_recall


def sample(seed, num, *, dim=2, loc=0.0, scale=1.0):
    return loc + scale * jax.random.normal(jax.random.key(seed), (num, dim))


def share_inside(points, centres, k) -> float:
    radii = [np.sort(row)[k] for row in cdist(centres, centres)]
    return np.mean([np.any(row <= radii) for row in cdist(points, centres)])


@pytest.mark.parametrize("k", [1, 3])
def test_equals_brute_force(k):
    real, generated = sample(0, ROWS_AT_ONCE + 44), sample(1, 80, loc=1.0)
    found = precision_recall(real, generated, num_neighbours=k)
    assert found.precision == np.float32(share_inside(generated, real, k))
    assert found.recall == np.float32(share_inside(real, generated, k))
    assert 0.3 < found.precision != found.recall < 0.95


def test_nearest_distance_equals_brute_force():
    x, others = sample(2, ROWS_AT_ONCE + 1), sample(3, 40)
    for rank in (1, 4):
        expected = np.sort(cdist(x, others), axis=1)[:, rank - 1]
        found = neighbour_distance(x, others, rank=rank)
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_a_dropped_mode_costs_recall_alone():
    real = jnp.concatenate([sample(4, 200), sample(5, 200, loc=20.0)])
    whole = precision_recall(real, jnp.concatenate([sample(6, 200), sample(7, 200, loc=20.0)]))
    half = precision_recall(real, sample(8, 400))
    assert min(whole) > 0.9
    assert half.precision > 0.9
    assert 0.45 < half.recall <= 0.5


def test_noise_costs_precision_alone():
    found = precision_recall(sample(9, 300), sample(10, 300, scale=5.0))
    assert found.precision < 0.25
    assert found.recall > 0.9


@pytest.mark.parametrize("num_neighbours", [0, 4])
def test_refuses_balls_that_no_points_span(num_neighbours):
    with pytest.raises(InputError, match=f"num_neighbours is {num_neighbours} for 4 images"):
        precision_recall(sample(0, 9), sample(1, 4), num_neighbours=num_neighbours)
