"""Models whose posterior and evidence are known exactly."""

from bayes_jax.exact import factor_mixture, linear_gaussian, mixture, quadrature, reference

__all__ = ["factor_mixture", "linear_gaussian", "mixture", "quadrature", "reference"]
