"""A grammar as two arrays, and how to write one down."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Float

from bayes_jax.errors import InputError

Rules = Mapping[str, Mapping[str, float | int]]


class Grammar(NamedTuple):
    """Rules in Chomsky normal form; all rules of a symbol sum to one.

    Attributes:
        binary: p(A -> B C), `[symbol, symbol, symbol]`; derivations start with symbol 0.
        unary: p(A -> token), `[symbol, token]`; 0 for token 0, the end of a sentence.
    """

    binary: Float[Array | np.ndarray, "symbol symbol symbol"]
    unary: Float[Array | np.ndarray, "symbol token"]

    @property
    def mean_children(self) -> Float[np.ndarray, "symbol symbol"]:
        """How many B an A becomes in one rewriting, on average."""
        binary = np.asarray(self.binary, np.float64)
        return binary.sum(axis=2) + binary.sum(axis=1)


def from_rules(rules: Rules) -> tuple[Grammar, tuple[str, ...]]:
    """A grammar from weighted rules, as {"S": {"NP VP": 3, "S S": 1}, "NP": {"she": 1}, ...}.

    Args:
        rules: symbol -> right side -> weight, the start symbol first. A right side is two symbols
            with a space between, or one word. Weights need not sum to one.

    Returns:
        The grammar, and the word of each token 1, 2, ..., in the order they are written.

    Raises:
        InputError: a right side that is neither, a weight that is not positive, or a grammar whose
            sentences have no finite mean length.
    """
    symbols = {symbol: index for index, symbol in enumerate(rules)}
    sides = [side for choices in rules.values() for side in choices]
    words = tuple(dict.fromkeys(side for side in sides if " " not in side))
    tokens = {word: index for index, word in enumerate(words, start=1)}
    binary = np.zeros((len(symbols),) * 3)
    unary = np.zeros((len(symbols), len(words) + 1))
    for symbol, choices in rules.items():
        total = sum(choices.values())
        for side, weight in choices.items():
            _check_rule(symbol, side, weight, symbols)
            row = symbols[symbol]
            if side in tokens:
                unary[row, tokens[side]] = weight / total
            else:
                binary[(row, *(symbols[part] for part in side.split(" ")))] = weight / total
    grammar = Grammar(binary, unary)
    check_finite(grammar)
    return grammar, words


def check_finite(grammar: Grammar) -> None:
    """Refuse a grammar that grows for ever: the largest eigenvalue of its mean children is below 1.

    Then derivations end with probability one, and length and entropy have finite means (Booth,
    Thompson 1973, https://doi.org/10.1109/T-C.1973.223746).

    Raises:
        InputError: with the eigenvalue.
    """
    growth = float(np.abs(np.linalg.eigvals(grammar.mean_children)).max())
    if not growth < 1:
        raise InputError(
            f"derivations of the grammar grow by {growth:.3g} a step: expected less than 1, rules "
            "that end more often"
        )


def _check_rule(symbol: str, side: str, weight: float | int, symbols: Mapping[str, int]) -> None:
    parts = side.split(" ")
    if not (len(parts) == 1 and side) and not (len(parts) == 2 and {*parts} <= {*symbols}):
        raise InputError(
            f"rule {symbol} -> {side!r}: expected one word, or two of the symbols "
            f"{', '.join(symbols)}"
        )
    if not weight > 0:
        raise InputError(f"rule {symbol} -> {side!r} has weight {weight}: expected above 0")
