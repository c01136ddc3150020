"""Maximum mean discrepancy: do two samples come from one distribution?

Gretton, Borgwardt, Rasch, Schölkopf, Smola 2012, "A kernel two-sample test", JMLR 13,
https://jmlr.org/papers/v13/gretton12a.html. No network, no labels: pixels against pixels.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.tree_util import Partial
from jaxtyping import Array, Float, PRNGKeyArray

from bayes_jax.batching import map_rows
from bayes_jax.errors import InputError
from vae_jax.quality.distances import ROWS_AT_ONCE, squared_distances

SCALES = (0.25, 0.5, 1.0, 2.0)
"""Bandwidths of the mixture of Gaussian kernels, in medians of the distance."""

_POINTS_FOR_MEDIAN = 1000


class MMDTest(NamedTuple):
    """A kernel two-sample test.

    Attributes:
        mmd2: unbiased estimate of MMD^2, of a kernel that is 1 at no distance; may be negative.
        p_value: share of permutations that are no smaller, the sample itself among them.
    """

    mmd2: Float[Array, ""]
    p_value: Float[Array, ""]


def mmd_test(
    key: PRNGKeyArray,
    x: Float[Array, "num dim"],
    y: Float[Array, "other dim"],
    *,
    num_permutations: int = 500,
) -> MMDTest:
    """MMD^2 = E k(x, x') + E k(y, y') - 2 E k(x, y) and its permutation p value.

    The kernel is `gaussian_mixture` at the `median_distance` of both samples together, which a
    permutation leaves as it is: the test is exact. One program computes a block of the kernel
    matrix for all permutations at once, and never holds all of it.

    Args:
        key: of the permutations.
        x: a sample.
        y: another.
        num_permutations: p is a multiple of 1 / (num_permutations + 1).

    Raises:
        InputError: no permutation.
    """
    if num_permutations < 1:
        raise InputError(f"num_permutations is {num_permutations}: expected at least 1")
    return _mmd_test(key, x, y, num_permutations=num_permutations)


def gaussian_mixture(bandwidth: float | Float[Array, ""]) -> Partial:
    """k(x, y) = mean over s in SCALES of exp(-|x - y|^2 / (2 s^2 bandwidth^2)).

    Several bandwidths see coarse differences as well as fine ones.

    Args:
        bandwidth: in units of x.

    Returns:
        `(x [dim], others [num, dim]) -> [num]`.
    """
    return Partial(_gaussian_mixture, jnp.asarray(bandwidth, float))


def median_distance(key: PRNGKeyArray, x: Float[Array, "num dim"]) -> Float[Array, ""]:
    """The median distance between two different x, among 1000 of them at most; 1 if all are equal.

    Args:
        key: chooses the 1000.
        x: a pooled sample.
    """
    x = jax.random.permutation(key, x)[:_POINTS_FOR_MEDIAN]
    squares = jax.vmap(squared_distances, (0, None))(x, x)
    # Equal points are a rounding error apart.
    is_apart = squares > 1e-6 * jnp.max(squares)
    median = jnp.sqrt(jnp.nanmedian(jnp.where(is_apart, squares, jnp.nan)))
    return jnp.where(jnp.any(is_apart), median, 1.0)


def _gaussian_mixture(bandwidth, x, others):
    squares = squared_distances(x, others) / (2 * bandwidth**2)
    return sum(jnp.exp(-squares / scale**2) for scale in SCALES) / len(SCALES)


@partial(jax.jit, static_argnames="num_permutations")
def _mmd_test(key, x, y, *, num_permutations):
    key_median, key_permutation = jax.random.split(key)
    pool = jnp.concatenate([x, y])
    kernel = gaussian_mixture(median_distance(key_median, pool))
    is_x = (jnp.arange(len(pool)) < len(x)).astype(pool.dtype)
    keys = jax.random.split(key_permutation, num_permutations)
    permuted = jax.vmap(jax.random.permutation, (0, None))(keys, is_x)
    values = _mmd2(pool, jnp.concatenate([is_x[None], permuted]), kernel)
    num_larger = jnp.sum(values[1:] >= values[0])
    return MMDTest(values[0], (1 + num_larger) / (1 + num_permutations))


def _mmd2(pool, is_x, kernel):
    """MMD^2 between the marked points of a pool and the others, for every row of marks."""

    def sums(row):
        index, point = row
        similar = kernel(point, pool).at[index].set(0.0)
        return jnp.dot(is_x, similar, precision="highest"), jnp.sum(similar)

    rows = (jnp.arange(len(pool)), pool)
    to_x, to_all = map_rows(sums, rows, batch_size=ROWS_AT_ONCE)
    to_y = to_all[:, None] - to_x
    num_x = jnp.sum(is_x[0])
    num_y = len(pool) - num_x
    within_x = jnp.sum(is_x.T * to_x, axis=0) / (num_x * (num_x - 1))
    within_y = jnp.sum((1 - is_x.T) * to_y, axis=0) / (num_y * (num_y - 1))
    between = jnp.sum(is_x.T * to_y, axis=0) / (num_x * num_y)
    return within_x + within_y - 2 * between
