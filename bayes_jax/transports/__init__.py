"""Maps of R^latent onto itself: NumPyro transforms over plain arrays.

`whitening` makes an affine map from draws. `coupling`, `autoregressive` (both by `conditioner`) and
`planar` are flows: their weights are NamedTuples of arrays, fitted or put out by a network.
"""

from bayes_jax.transports.autoregressive import Autoregressive, initial_autoregressive
from bayes_jax.transports.conditioner import ConditionerWeights
from bayes_jax.transports.coupling import AffineCoupling, initial_coupling
from bayes_jax.transports.planar import Planar, PlanarWeights
from bayes_jax.transports.whitening import affine_from_draws, shrunk_cholesky

__all__ = [
    "AffineCoupling",
    "Autoregressive",
    "ConditionerWeights",
    "Planar",
    "PlanarWeights",
    "affine_from_draws",
    "initial_autoregressive",
    "initial_coupling",
    "shrunk_cholesky",
]
