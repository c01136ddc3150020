"""Bodies that read tokens in order: what they say of a token sees those before it, and no other.

A `TokenNetwork` embeds tokens and scores the next one (`scores`); a core between the two carries
what came before, recurrent (`CausalGRU`) or by attention (`CausalAttention`, which models of pixels
have too). As in `networks.causal`, each has two ways of saying the same: of a whole row in one
pass, and with `start` and `advance` one token after the other. All take a context vector, which
every place sees (of length 0 where there is none). A `TokenEncoder` reads a whole row.
"""

from vae_jax.networks.causal.attention import CausalAttention
from vae_jax.networks.sequence.encoder import TokenEncoder
from vae_jax.networks.sequence.recurrent import CausalGRU
from vae_jax.networks.sequence.tokens import TokenNetwork

__all__ = ["CausalAttention", "CausalGRU", "TokenEncoder", "TokenNetwork"]
