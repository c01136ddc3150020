"""Models whose posterior and evidence are known exactly."""

from bayes_jax.exact import grammar, linear_gaussian, mixture, ngram, quadrature, reference

__all__ = ["grammar", "linear_gaussian", "mixture", "ngram", "quadrature", "reference"]
