"""Models whose posterior and evidence are known exactly."""

from bayes_jax.exact import (
    factor_mixture,
    grammar,
    hmm,
    linear_gaussian,
    mixture,
    ngram,
    quadrature,
    reference,
)

__all__ = [
    "factor_mixture",
    "grammar",
    "hmm",
    "linear_gaussian",
    "mixture",
    "ngram",
    "quadrature",
    "reference",
]
