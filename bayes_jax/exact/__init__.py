"""Models whose posterior and evidence are known exactly."""

from bayes_jax.exact import linear_gaussian, mixture, ngram, quadrature, reference

__all__ = ["linear_gaussian", "mixture", "ngram", "quadrature", "reference"]
