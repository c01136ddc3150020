"""Planar maps: everything moves along one direction, by how far along another it stands.

    y = z + u tanh(w z + b),      with w u > -1, so that no two z meet

The way back is the root of a rising function of one number.

References:
    Rezende, Mohamed 2015, *Variational inference with normalizing flows*, arXiv 1505.05770, with
    the constraint of its appendix A.1.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float
from numpyro.distributions import constraints
from numpyro.distributions.transforms import Transform

# Halvings of a bracket of width 2 |w u|: to the last digits of float32.
_NUM_HALVINGS = 30
# Of how much of a step along the gauge is left where the map squeezes most.
_LEAST_RATE = 1e-3


class PlanarWeights(NamedTuple):
    """Unconstrained weights of one map.

    Attributes:
        push: the direction before its constraint, `[latent]`.
        gauge: w, `[latent]`.
        bias: b, `[]`.
    """

    push: Float[Array, " latent"]
    gauge: Float[Array, " latent"]
    bias: Float[Array, ""]


class Planar(Transform):
    """One planar map; it is the identity where push is zero.

    Attributes:
        weights: as a network makes them.
    """

    domain = constraints.real_vector
    codomain = constraints.real_vector

    def __init__(self, weights: PlanarWeights):
        self.weights = weights

    def __call__(self, x):
        """Moved along the direction."""
        direction, _ = self._direction()
        return x + direction * jnp.tanh(self._height(x))[..., None]

    def _inverse(self, y):
        direction, slope = self._direction()
        height = _rooted(slope, self._height(y))
        return y - direction * jnp.tanh(height)[..., None]

    def log_abs_det_jacobian(self, x, y, intermediates=None):
        """log(1 + w u (1 - tanh^2)), in nats."""
        _, slope = self._direction()
        return jnp.log1p(slope * (1 - jnp.tanh(self._height(x)) ** 2))

    def tree_flatten(self):
        """Weights are children."""
        return (self.weights,), (("weights",), {})

    def _height(self, z):
        return z @ self.weights.gauge + self.weights.bias

    def _direction(self):
        """u, and w u > -1."""
        push, gauge, _ = self.weights
        raw = push @ gauge
        # Zero at zero, so that small weights are a small map, and never so near -1 that the map
        # has no way back in float32.
        rate = jax.nn.softplus(raw + jnp.log(jnp.expm1(1.0)))
        slope = (1 - _LEAST_RATE) * (rate - 1)
        return push + (slope - raw) * gauge / (gauge @ gauge + 1e-12), slope


@jax.custom_jvp
def _rooted(slope, target):
    """The a with a + slope tanh(a) = target."""

    def halve(_, ends):
        low, high = ends
        middle = 0.5 * (low + high)
        is_below = middle + slope * jnp.tanh(middle) < target
        return jnp.where(is_below, middle, low), jnp.where(is_below, high, middle)

    reach = jnp.abs(slope) + jnp.zeros_like(target)
    ends = jax.lax.fori_loop(0, _NUM_HALVINGS, halve, (target - reach, target + reach))
    return 0.5 * (ends[0] + ends[1])


@_rooted.defjvp
def _rooted_jvp(primals, tangents):
    """By the implicit function theorem, whose right side has derivatives again."""
    root = _rooted(*primals)
    rise = jnp.tanh(root)
    slope_tangent, target_tangent = tangents
    excess_tangent = target_tangent - rise * slope_tangent
    return root, excess_tangent / (1 + primals[0] * (1 - rise**2))
