"""Posterior sampling of many x at once: whole runs (`engines`), or step by step (`chains`).

Parts: `hmc` and `nuts` move the chains of one x, `adaptation` tunes them, `climb` brings in
those left behind, `targets` say which density and which force.
"""

from bayes_jax.mcmc.chains import Chains, Settings, Starts, init, sample, warm_up
from bayes_jax.mcmc.engines import (
    posterior_chains,
    posterior_settings,
    posterior_starts,
    sample_batch,
    sample_posterior,
    spread_starts,
)

__all__ = [
    "Chains",
    "Settings",
    "Starts",
    "init",
    "posterior_chains",
    "posterior_settings",
    "posterior_starts",
    "sample",
    "sample_batch",
    "sample_posterior",
    "spread_starts",
    "warm_up",
]
