"""The kernel distance against brute force, and its error against leaving points out and repeats."""

import jax
import jax.numpy as jnp
import numpy as np

from vae_jax.quality.distances import ROWS_AT_ONCE
from vae_jax.quality.kernel_distance import kernel_distance

DIM = 4


def sample(seed, *shape, loc=0.0):
    return loc + jax.random.normal(jax.random.key(seed), (*shape, DIM))


def by_brute_force(x, y) -> float:
    def kernel(x, y):
        return (np.asarray(x, np.float64) @ np.asarray(y, np.float64).T / DIM + 1) ** 3

    def within(x):
        matrix = kernel(x, x)
        return matrix[~np.eye(len(x), dtype=bool)].mean()

    return within(x) + within(y) - 2 * kernel(x, y).mean()


def test_value_equals_brute_force():
    x, y = sample(0, ROWS_AT_ONCE + 44), sample(1, 30, loc=0.4)
    np.testing.assert_allclose(kernel_distance(x, y).value, by_brute_force(x, y), rtol=1e-4)


def test_error_equals_that_of_leaving_points_out():
    x, y = sample(2, 12), sample(3, 9, loc=0.4)
    without_x = [by_brute_force(np.delete(x, i, 0), y) for i in range(len(x))]
    without_y = [by_brute_force(x, np.delete(y, i, 0)) for i in range(len(y))]
    variance = sum((len(left) - 1) * np.var(left) for left in (without_x, without_y))
    np.testing.assert_allclose(kernel_distance(x, y).stderr, np.sqrt(variance), rtol=1e-4)


def test_error_is_the_spread_of_repeats():
    num = 400
    found = jax.vmap(kernel_distance)(sample(4, num, 150), sample(5, num, 100, loc=0.6))
    values = np.asarray(found.value, np.float64)
    spread = values.std(ddof=1)
    stderr = np.sqrt(np.mean(np.square(found.stderr, dtype=np.float64)))
    assert abs(stderr / spread - 1) < 4 / np.sqrt(2 * num)


def test_one_distribution_has_no_distance():
    num = 400
    found = jax.vmap(kernel_distance)(sample(6, num, 60), sample(7, num, 40))
    values = np.asarray(found.value, np.float64)
    assert abs(values.mean()) < 4 * values.std() / np.sqrt(num)
    # Degenerate: the error errs on the safe side.
    assert jnp.sqrt(jnp.mean(found.stderr**2)) > values.std()
