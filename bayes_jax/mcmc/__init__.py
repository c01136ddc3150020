"""Posterior sampling: parts (`adaptation`, `hmc`, `nuts`) and the engines assembled from them."""

from bayes_jax.mcmc.engines import sample_batch, sample_posterior

__all__ = ["sample_batch", "sample_posterior"]
