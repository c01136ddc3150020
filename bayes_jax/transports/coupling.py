"""Affine coupling: one half of the coordinates moves by what the other half says.

    y_kept = z_kept        y_moved = z_moved exp(log_scale(z_kept)) + shift(z_kept)

Both directions cost one pass, so that draws and densities are equally cheap.

References:
    Dinh, Sohl-Dickstein, Bengio 2017, *Density estimation using Real NVP*, arXiv 1605.08803.
"""

import jax.numpy as jnp
from jaxtyping import PRNGKeyArray
from numpyro.distributions import constraints
from numpyro.distributions.transforms import Transform

from bayes_jax.transports.conditioner import (
    ConditionerWeights,
    initial_weights,
    shift_and_log_scale,
)


def initial_coupling(key: PRNGKeyArray, latent_dim: int, hidden_dim: int) -> ConditionerWeights:
    """Weights with which an `AffineCoupling` of either direction is the identity.

    Args:
        key: a PRNG key.
        latent_dim: of z; latent_dim // 2 coordinates are kept, the others moved.
        hidden_dim: hidden units.
    """
    num_kept = latent_dim // 2
    return initial_weights(key, num_kept, latent_dim - num_kept, hidden_dim)


class AffineCoupling(Transform):
    """One coupling. In one dimension there is nothing to condition on, and the map is affine.

    Attributes:
        weights: with as many inputs as coordinates are kept.
        backwards: keep the last coordinates instead of the first; alternate between layers.
    """

    domain = constraints.real_vector
    codomain = constraints.real_vector

    def __init__(self, weights: ConditionerWeights, *, backwards: bool = False):
        self.weights, self.backwards = weights, backwards

    def __call__(self, x):
        """The moved half scaled, then shifted."""
        kept, moved = self._split(x)
        shift, log_scale = shift_and_log_scale(self.weights, kept)
        return self._join(kept, moved * jnp.exp(log_scale) + shift)

    def _inverse(self, y):
        kept, moved = self._split(y)
        shift, log_scale = shift_and_log_scale(self.weights, kept)
        return self._join(kept, (moved - shift) * jnp.exp(-log_scale))

    def log_abs_det_jacobian(self, x, y, intermediates=None):
        """The sum of the log scales, in nats."""
        kept, _ = self._split(x)
        return jnp.sum(shift_and_log_scale(self.weights, kept)[1], axis=-1)

    def tree_flatten(self):
        """Weights are children, the direction is static."""
        return (self.weights,), (("weights",), {"backwards": self.backwards})

    def _split(self, z):
        ordered = z[..., ::-1] if self.backwards else z
        return jnp.split(ordered, [z.shape[-1] // 2], axis=-1)

    def _join(self, kept, moved):
        ordered = jnp.concatenate([kept, moved], axis=-1)
        return ordered[..., ::-1] if self.backwards else ordered
