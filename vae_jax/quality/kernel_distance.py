"""Kernel distance between features of two samples, with a standard error."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.tree_util import Partial
from jaxtyping import Array, Float

from bayes_jax.batching import map_rows
from vae_jax.quality.distances import ROWS_AT_ONCE


class KernelDistance(NamedTuple):
    """An unbiased estimate and its error.

    Attributes:
        value: of MMD^2; may be negative.
        stderr: its standard error, by the jackknife.
    """

    value: Float[Array, ""]
    stderr: Float[Array, ""]


def _cubic(x, others):
    return (jnp.dot(others, x, precision="highest") / len(x) + 1) ** 3


CUBIC = Partial(_cubic)
"""k(x, y) = (x.y / dim + 1)^3, which compares moments up to the third."""


@jax.jit
def kernel_distance(
    x: Float[Array, "num dim"], y: Float[Array, "other dim"], *, kernel: Partial = CUBIC
) -> KernelDistance:
    """Unbiased MMD^2 = E k(x, x') + E k(y, y') - 2 E k(x, y), of features rather than pixels.

    Binkowski, Sutherland, Arbel, Gretton 2018, "Demystifying MMD GANs", arXiv 1801.01401, over the
    whole samples instead of their subsets. With a_i the mean kernel of x_i to the other x, b_i to
    y, and a', b' the same of y, leaving out one point after the other has the variance

        4 / (num - 1) var_i(b_i - a_i (num - 1) / (num - 2)) + the same of y

    which near zero distance, where the estimate is degenerate, is too large rather than too small.

    Args:
        x: features of a sample, three at least.
        y: of another.
        kernel: `(x [dim], others [num, dim]) -> [num]`.
    """
    x_to_x, x_to_y = _row_sums(x, x, kernel, skip=True), _row_sums(x, y, kernel)
    y_to_y, y_to_x = _row_sums(y, y, kernel, skip=True), _row_sums(y, x, kernel)
    num_x, num_y = len(x), len(y)
    within = jnp.mean(x_to_x) / (num_x - 1) + jnp.mean(y_to_y) / (num_y - 1)
    variance = _jackknife(x_to_x, x_to_y / num_y) + _jackknife(y_to_y, y_to_x / num_x)
    return KernelDistance(within - 2 * jnp.mean(x_to_y) / num_y, jnp.sqrt(variance))


def _row_sums(x, others, kernel, *, skip=False):
    """Sum of the kernel of every x to the others, without its own row if told to skip it."""

    def one(row):
        index, x = row
        similar = kernel(x, others)
        return jnp.sum(similar.at[index].set(0.0) if skip else similar)

    return map_rows(one, (jnp.arange(len(x)), x), batch_size=ROWS_AT_ONCE)


def _jackknife(within, between):
    num = len(within)
    return 4 / (num - 1) * jnp.var(between - within / (num - 2))
