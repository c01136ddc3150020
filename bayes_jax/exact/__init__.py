"""Models whose posterior and evidence are known exactly."""

from bayes_jax.exact import (
    factor_mixture,
    grammar,
    hmm,
    linear_gaussian,
    mixture,
    mixture_choice,
    ngram,
    quadrature,
    reference,
    trimmed,
)

__all__ = [
    "factor_mixture",
    "grammar",
    "hmm",
    "linear_gaussian",
    "mixture",
    "mixture_choice",
    "ngram",
    "quadrature",
    "reference",
    "trimmed",
]
