"""How many components, and how smooth? A Gaussian mixture chosen by the rows held out from it."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Num, PRNGKeyArray

from bayes_jax.errors import InputError
from bayes_jax.exact import mixture

MIN_VARIANCES = (1e-3, 1e-2, 1e-1)
"""Floors of the eigenvalues of a covariance that are tried, for x of unit variance."""

Rows = Num[Array | np.ndarray, "num dim"]


def fit_chosen(
    key: PRNGKeyArray,
    x: Rows,
    *,
    held_out: float = 0.2,
    max_components: int = 16,
    num_iterations: int = 100,
) -> mixture.FullGaussianMixture:
    """A full-covariance Gaussian mixture whose size and floor held-out log p(x) chooses.

    1, 2, 4 ... components are tried with every floor of `MIN_VARIANCES`; what gives held-out rows
    the highest mean log p is fitted again, to all rows.

    Args:
        key: a PRNG key, of the held-out rows and the starts.
        x: observations of about unit variance.
        held_out: share of the rows that choose.
        max_components: most that are tried.
        num_iterations: of EM at most, per fit.

    Returns:
        The parameters.

    Raises:
        InputError: rows too few to hold some out, or that are not finite.
    """
    num_held = round(held_out * len(x))
    if not 1 <= num_held < len(x):
        raise InputError(f"held_out is {held_out} of {len(x)} rows: expected 1 row on either side")
    key_split, key_fit = jax.random.split(key)
    order = np.asarray(jax.random.permutation(key_split, len(x)))
    held, rest = x[order[:num_held]], x[order[num_held:]]
    options = {"num_restarts": 1, "num_iterations": num_iterations, "tolerance": 1e-3}

    def fit(rows, size):
        return mixture.fit_params(
            key_fit, rows, likelihood="gaussian", covariance="full", **size, **options
        )

    def worth(size) -> float:
        return float(jnp.mean(_log_probs(fit(rest, size), held)))

    return fit(x, max(_sizes(min(max_components, len(rest))), key=worth))


def _sizes(max_components) -> list[dict]:
    # All of them: a bad local optimum of one says nothing of the next.
    numbers = [2**power for power in range(max_components.bit_length())]
    return [
        {"num_components": num, "min_variance": floor} for num in numbers for floor in MIN_VARIANCES
    ]


def _log_probs(params, x) -> Float[Array, " num"]:
    return mixture.generative(params).log_evidence(jax.random.key(0), jnp.asarray(x, float)).lower
