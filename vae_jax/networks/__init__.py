"""Network bodies: features in, features out, no probability (Flax Linen).

Modules take ONE example without a batch axis, or any batch that `jax.vmap` makes of it.
"""

from vae_jax.networks.convolutional import ConvDecoder, ConvEncoder
from vae_jax.networks.mlp import MLP, with_output_bias
from vae_jax.networks.table import make_networks
from vae_jax.networks.two_level import TwoLevelDecoder

__all__ = [
    "MLP",
    "ConvDecoder",
    "ConvEncoder",
    "TwoLevelDecoder",
    "make_networks",
    "with_output_bias",
]
