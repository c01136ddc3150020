"""Bodies that read pixels in order: the features of a pixel see those before it, and no other.

Each module has two ways of saying the same: `__call__` of a whole x in one pass, and `start` and
`advance`, one pixel after the other with what was computed kept, as a scan draws them. Both take
one x and a context vector, which all pixels see (of length 0 where there is none).
"""

from vae_jax.networks.causal.made import MADE
from vae_jax.networks.causal.pixelcnn import GatedPixelCNN
from vae_jax.networks.causal.transformer import CausalTransformer

__all__ = ["MADE", "CausalTransformer", "GatedPixelCNN"]
