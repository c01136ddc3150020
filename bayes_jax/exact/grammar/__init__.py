"""Probabilistic context-free grammars: sentences whose exact probability is known.

A derivation starts with the first symbol and rewrites each symbol A as two, A -> B C, or as one
token, A -> w (Chomsky normal form). A sentence may have many derivations, and p(sentence) is the
sum of their probabilities. `rules` writes a grammar down, `inside` sums over derivations, and
`derivations` draws them and knows their entropy.
"""

from bayes_jax.exact.grammar.derivations import (
    StringEntropy,
    derivation_entropy,
    length_probs,
    mean_length,
    sample,
    string_entropy,
)
from bayes_jax.exact.grammar.inside import log_evidence, log_prob
from bayes_jax.exact.grammar.rules import Grammar, from_rules

__all__ = [
    "Grammar",
    "StringEntropy",
    "derivation_entropy",
    "from_rules",
    "length_probs",
    "log_evidence",
    "log_prob",
    "mean_length",
    "sample",
    "string_entropy",
]
