"""Posterior sampling of many x at once: whole runs (`engines`), or step by step (`chains`).

Parts: `hmc` and `nuts` move the chains of one x, `adaptation` tunes them, `climb` brings in
those left behind, `targets` say which density and which force.
"""

from bayes_jax.mcmc.chains import Chains, Settings, Starts, init, sample, warm_up
from bayes_jax.mcmc.engines import sample_batch, sample_posterior

__all__ = [
    "Chains",
    "Settings",
    "Starts",
    "init",
    "sample",
    "sample_batch",
    "sample_posterior",
    "warm_up",
]
