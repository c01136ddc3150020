"""What a head is, and the positive scales that several of them have."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree
from numpyro.distributions import Distribution


def _no_own_params(x: Array | np.ndarray) -> PyTree:
    """A head whose distribution is all in its features."""
    del x
    return {}


def _as_it_is(x: Array) -> Array:
    return x


class Head(NamedTuple):
    """One observation model.

    Attributes:
        num_features: how many features it reads, as many for each pixel, one pixel after the other.
        distribution: features `[num_features]` and its own params -> p(x | z), event shape `[dim]`.
        initial_features: a batch x `[batch, dim]` -> features `[num_features]` that fit its pixels.
        initial_params: a batch x -> what it learns beside the features, the same for every z.
        inputs: x -> what an encoder reads of it, of about unit size.
    """

    num_features: int
    distribution: Callable[[Array, PyTree], Distribution]
    initial_features: Callable[[Array], Array]
    initial_params: Callable[[Array], PyTree] = _no_own_params
    inputs: Callable[[Array], Array] = _as_it_is


def positive_scale(
    unconstrained: Float[Array, "*dim"], *, min_scale: float
) -> Float[Array, "*dim"]:
    """scale = min_scale + softplus(unconstrained)."""
    return min_scale + jax.nn.softplus(unconstrained)


def unconstrained_scale(scale: Float[Array, "*dim"], *, min_scale: float) -> Float[Array, "*dim"]:
    """The inverse of `positive_scale`, kept finite near the floor."""
    excess = jnp.maximum(scale - min_scale, 0.1 * min_scale)
    return excess + jnp.log(-jnp.expm1(-excess))
