"""Observation models: decoder features -> p(x | z), for one z.

A `Head` says how many features it reads, what distribution they make, and which features fit the
data before anything is learned. In the order of the imports: `head` (what a head is), `binary`
(pixels that are on or off, or a share of on), `gaussian`, `levels` (whole grey levels), `counts`,
and `table` with `make_head`, the one table of them.
"""

from vae_jax.likelihoods.head import Head
from vae_jax.likelihoods.table import make_head

__all__ = ["Head", "make_head"]
