"""Autoregressive maps: each coordinate moves by what those before it say.

    y_i = z_i exp(log_scale_i(z_<i)) + shift_i(z_<i)

One pass gives y and its density (inverse autoregressive flow); the way back takes one pass for each
coordinate. The inverse transform (`.inv`) is the masked autoregressive flow, whose densities are
cheap and whose draws are not.

References:
    Kingma et al. 2016, *Improved variational inference with inverse autoregressive flow*,
    arXiv 1606.04934. Papamakarios, Pavlakou, Murray 2017, arXiv 1705.07057. The masks: Germain,
    Gregor, Murray, Larochelle 2015, *MADE*, arXiv 1502.03509.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray
from numpyro.distributions import constraints
from numpyro.distributions.transforms import Transform

from bayes_jax.errors import InputError
from bayes_jax.transports.conditioner import (
    ConditionerWeights,
    initial_weights,
    shift_and_log_scale,
)


def initial_autoregressive(
    key: PRNGKeyArray, latent_dim: int, hidden_dim: int
) -> ConditionerWeights:
    """Weights with which an `Autoregressive` of either direction is the identity.

    Args:
        key: a PRNG key.
        latent_dim: of z.
        hidden_dim: hidden units, shared out among the latent_dim - 1 coordinates that others see.
    """
    return initial_weights(key, latent_dim, latent_dim, hidden_dim)


class Autoregressive(Transform):
    """One autoregressive map. In one dimension it is affine.

    Attributes:
        weights: `[hidden, latent]` and so on; those a mask forbids have no effect.
        backwards: begin with the last coordinate instead of the first; alternate between layers.
    """

    domain = constraints.real_vector
    codomain = constraints.real_vector

    def __init__(self, weights: ConditionerWeights, *, backwards: bool = False):
        self.weights, self.backwards = weights, backwards

    def __call__(self, x):
        """Every coordinate scaled, then shifted, in one pass."""
        shift, log_scale = self._shift_and_log_scale(x)
        return x * jnp.exp(log_scale) + shift

    def _inverse(self, y):
        def one_more(_, x):
            shift, log_scale = self._shift_and_log_scale(x)
            return (y - shift) * jnp.exp(-log_scale)

        # Each pass makes one more coordinate right, whatever the others were.
        return jax.lax.fori_loop(0, y.shape[-1], one_more, jnp.zeros_like(y))

    def log_abs_det_jacobian(self, x, y, intermediates=None):
        """The sum of the log scales, in nats."""
        return jnp.sum(self._shift_and_log_scale(x)[1], axis=-1)

    def tree_flatten(self):
        """Weights are children, the direction is static."""
        return (self.weights,), (("weights",), {"backwards": self.backwards})

    def _shift_and_log_scale(self, x):
        sees, shows = masks(*self.weights.hidden.shape, backwards=self.backwards)
        masked = self.weights._replace(
            hidden=self.weights.hidden * sees, out=self.weights.out * shows
        )
        return shift_and_log_scale(masked, x)


def masks(
    hidden_dim: int, latent_dim: int, *, backwards: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Which hidden unit sees which coordinate, and which output sees which hidden unit.

    Hidden unit h sees the first r_h coordinates, r_h running through 1 ... latent - 1; output i
    sees the units with r_h <= i, counted from zero: none for the first.

    Args:
        hidden_dim: hidden units.
        latent_dim: coordinates.
        backwards: count from the last coordinate.

    Returns:
        0 or 1, `[hidden, latent]` and `[latent, hidden]`.

    Raises:
        InputError: fewer hidden units than prefixes: some coordinates would be seen by none.
    """
    if hidden_dim < latent_dim - 1:
        raise InputError(
            f"hidden_dim is {hidden_dim}: expected at least {latent_dim - 1}, a unit for every "
            f"prefix of {latent_dim} coordinates"
        )
    order = np.arange(latent_dim)[::-1] if backwards else np.arange(latent_dim)
    reach = 1 + np.arange(hidden_dim) % max(latent_dim - 1, 1)
    sees = order[None, :] < reach[:, None]
    shows = reach[None, :] <= order[:, None]
    return sees.astype(np.float32), shows.astype(np.float32)
