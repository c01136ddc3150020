"""Rows of tokens: where a sentence ends, and what a token of it costs.

A row `[length]` holds one sentence: its tokens, then `END`, then `END` again up to the length of
the row. Once ended nothing more is drawn, so that the padding has probability one, and p(row) of a
sentence is the product over its tokens up to and including the end. A row without `END` is the
beginning of a longer sentence, and p(row) the probability to begin so.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Bool, Float, Integer, Num

from bayes_jax.errors import InputError

Rows = Num[Array | np.ndarray, "*batch length"]

END = 0
"""The token that ends a sentence."""


class Perplexity(NamedTuple):
    """What a model thinks of the tokens of some sentences.

    Attributes:
        value: exp of minus the mean log p in nats per token, end tokens counted.
        stderr: of `value`, over sentences.
    """

    value: float
    stderr: float


def in_sentence(x: Rows) -> Bool[Array | np.ndarray, "*batch length"]:
    """Whether a place belongs to its sentence: all up to the first `END`, and that one."""
    is_end = x == END
    return is_end.cumsum(-1) <= is_end


def lengths(x: Rows) -> Integer[Array | np.ndarray, "*batch"]:
    """Tokens of each sentence, its `END` counted where the row holds it."""
    return in_sentence(x).sum(-1)


def stays_ended(x: Rows) -> Bool[Array | np.ndarray, "*batch"]:
    """Whether nothing but `END` follows an `END`."""
    return (in_sentence(x) | (x == END)).all(-1)


def perplexity(
    log_prob: Float[Array | np.ndarray, " num"], num_tokens: Integer[Array | np.ndarray, " num"]
) -> Perplexity:
    """exp(-sum log p / sum of tokens), the perplexity per token of a set of sentences.

    Args:
        log_prob: log p of each sentence in nats: exact, or an importance or annealed estimate.
            Of a lower bound it is an upper bound, and must be called so.
        num_tokens: of each sentence, as `lengths` counts.

    Returns:
        The value, and its standard error by the delta method for a ratio of means.

    Raises:
        InputError: fewer than two sentences.
    """
    cost, num_tokens = -np.asarray(log_prob, np.float64), np.asarray(num_tokens, np.float64)
    if len(cost) < 2:
        raise InputError(f"log_prob holds {len(cost)} sentences: expected at least 2")
    rate = cost.sum() / num_tokens.sum()
    residual = (cost - rate * num_tokens) / num_tokens.mean()
    stderr = residual.std(ddof=1) / np.sqrt(len(cost))
    value = float(np.exp(rate))
    return Perplexity(value, value * float(stderr))
