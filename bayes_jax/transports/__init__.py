"""Maps of R^latent onto itself: NumPyro transforms over plain arrays.

`whitening` makes an affine map from draws. `coupling` and `autoregressive` are flows: their weights
are NamedTuples of arrays (`conditioner`), whoever makes them, fitted or put out by a network.
"""

from bayes_jax.transports.autoregressive import Autoregressive, initial_autoregressive
from bayes_jax.transports.conditioner import ConditionerWeights
from bayes_jax.transports.coupling import AffineCoupling, initial_coupling
from bayes_jax.transports.whitening import affine_from_draws, shrunk_cholesky

__all__ = [
    "AffineCoupling",
    "Autoregressive",
    "ConditionerWeights",
    "affine_from_draws",
    "initial_autoregressive",
    "initial_coupling",
    "shrunk_cholesky",
]
