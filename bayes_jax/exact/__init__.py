"""Models whose posterior and evidence are known exactly."""

from bayes_jax.exact import linear_gaussian, mixture, quadrature, reference

__all__ = ["linear_gaussian", "mixture", "quadrature", "reference"]
