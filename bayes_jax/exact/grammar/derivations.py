"""Drawing derivations; their entropy, and that of the sentences they end in.

The entropy of derivations solves a linear equation, H = h + M H, with h the entropy of a symbol's
choice of rule and M its mean children. Several derivations may end in one sentence, so the entropy
of sentences is smaller by the mean entropy of the derivation given the sentence. That has no closed
form, but every draw estimates it without bias.

References:
    Grenander 1967, "Syntax-controlled probabilities"; Chi 1999, "Statistical properties of
    probabilistic context-free grammars", https://aclanthology.org/J99-1004.
"""

from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float64, Int32, PRNGKeyArray

from bayes_jax.errors import InputError
from bayes_jax.exact.grammar.inside import log_evidence
from bayes_jax.exact.grammar.rules import Grammar, check_finite
from bayes_jax.sequences import END


class StringEntropy(NamedTuple):
    """-E[log p(sentence)], estimated.

    Attributes:
        value: in nats per sentence, without bias.
        stderr: of `value`, over draws.
        ambiguity: the mean of -log p(derivation | sentence) in nats, by which it lies below the
            entropy of derivations.
    """

    value: float
    stderr: float
    ambiguity: float


def sample(
    key: PRNGKeyArray, grammar: Grammar, num: int
) -> tuple[Int32[np.ndarray, "num length"], Float64[np.ndarray, " num"]]:
    """Sentences, and log p of the derivations that they were drawn by.

    Args:
        key: a PRNG key.
        grammar: the rules.
        num: sentences.

    Returns:
        Rows as long as the longest sentence with its end, and log p(derivation) in nats, `[num]`.

    Raises:
        InputError: a grammar whose derivations need not end.
    """
    check_finite(grammar)
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)).ravel())
    rules = _flat_rules(grammar)
    draws = [_derive(rng, rules.cumsum(axis=1), len(grammar.binary)) for _ in range(num)]
    rows = np.full((num, max(len(tokens) for tokens, _ in draws) + 1), END, np.int32)
    for row, (tokens, _) in zip(rows, draws, strict=True):
        row[: len(tokens)] = tokens
    return rows, np.array([np.log(rules[tuple(np.transpose(taken))]).sum() for _, taken in draws])


def derivation_entropy(grammar: Grammar) -> float:
    """-E[log p(derivation)] in nats, exact; an upper bound of the entropy of sentences."""
    rules = _flat_rules(grammar)
    of_choice = -np.sum(rules * np.log(np.where(rules > 0, rules, 1)), axis=1)
    return float(_summed(grammar, of_choice)[0])


def mean_length(grammar: Grammar) -> float:
    """Tokens of a sentence on average, without its end."""
    return float(_summed(grammar, np.asarray(grammar.unary).sum(axis=1))[0])


def length_probs(grammar: Grammar, longest: int) -> Float64[np.ndarray, " length"]:
    """p(length) of a sentence without its end, for 0 ... longest; exact."""
    binary = np.asarray(grammar.binary, np.float64)
    probs = np.zeros((longest + 1, len(binary)))
    probs[1] = np.asarray(grammar.unary).sum(axis=1)
    for width in range(2, longest + 1):
        pairs = probs[1:width].T @ probs[width - 1 : 0 : -1]
        probs[width] = np.einsum("abc,bc->a", binary, pairs)
    return probs[:, 0]


def string_entropy(key: PRNGKeyArray, grammar: Grammar, *, num: int = 2000) -> StringEntropy:
    """-E[log p(sentence)] from draws, whose derivations serve as control variates.

    H = H_derivations - E[log p(sentence) - log p(derivation)], of which the first is exact and the
    second varies only as much as the grammar is ambiguous.

    Args:
        key: a PRNG key.
        grammar: the rules.
        num: draws.

    Raises:
        InputError: fewer than two draws.
    """
    if num < 2:
        raise InputError(f"num is {num}: expected at least 2 draws")
    x, log_derivation = sample(key, grammar, num)
    excess = np.asarray(log_evidence(grammar, x).lower, np.float64) - log_derivation
    stderr = excess.std(ddof=1) / np.sqrt(num)
    return StringEntropy(
        derivation_entropy(grammar) - float(excess.mean()), float(stderr), float(excess.mean())
    )


def _summed(grammar: Grammar, value) -> Float64[np.ndarray, " symbol"]:
    """What the symbols of a derivation are worth in all, from what each one is."""
    check_finite(grammar)
    return np.linalg.solve(np.eye(len(value)) - grammar.mean_children, value)


def _flat_rules(grammar: Grammar) -> Float64[np.ndarray, "symbol rule"]:
    """Pairs of symbols, then tokens."""
    binary = np.asarray(grammar.binary, np.float64).reshape(len(grammar.binary), -1)
    return np.concatenate([binary, np.asarray(grammar.unary, np.float64)], axis=1)


def _derive(rng, cumulative, num_symbols) -> tuple[list[int], list[tuple[int, int]]]:
    """Tokens, and the (symbol, rule) of every step."""
    stack, tokens, taken = [0], [], []
    while stack:
        symbol = stack.pop()
        point = rng.random() * cumulative[symbol, -1]
        rule = int(np.searchsorted(cumulative[symbol], point, side="right"))
        taken.append((symbol, rule))
        if rule < num_symbols**2:
            stack += reversed(divmod(rule, num_symbols))
        else:
            tokens.append(rule - num_symbols**2)
    return tokens, taken
