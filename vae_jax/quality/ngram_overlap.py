"""How much sentences repeat each other and themselves, by the n-grams that they share."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from jaxtyping import Array, Integer

from bayes_jax.errors import InputError
from bayes_jax.sequences import END

Rows = Integer[Array | np.ndarray, "_ _"]  # numbers of rows and lengths of their own
Sentence = tuple[int, ...]

_SMALL = 0.1
"""Hits of an order without any, so that one order does not decide (Chen, Cherry 2014, method 1)."""


def words_of(x: Rows) -> list[Sentence]:
    """Rows as tuples of tokens, without their ends."""
    return [tuple(row[: row.index(END)] if END in row else row) for row in np.asarray(x).tolist()]


def distinct_share(x: Rows, order: int) -> float:
    """Different n-grams over all n-grams of some sentences (Li et al. 2016, arXiv 1510.03055).

    It falls with the number of sentences: compare models by equally many.

    Args:
        x: rows of tokens as `bayes_jax.sequences` has them; the end is none of the n-gram's.
        order: n.

    Returns:
        0 to 1; NaN where no sentence has so many tokens.
    """
    found = [gram for words in words_of(x) for gram in _ngrams(words, order)]
    return len({*found}) / len(found) if found else float("nan")


def self_bleu(x: Rows, *, order: int = 4) -> float:
    """The mean BLEU of each sentence against all others: 1 where they say the same.

    Zhu et al. 2018, "Texygen", arXiv 1802.01886. BLEU is the geometric mean over n = 1 ... order of
    the share of n-grams that some other sentence has as often, times exp(1 - r / c) where the
    sentence of c tokens is shorter than the other that is nearest in length, of r (Papineni et al.
    2002, https://aclanthology.org/P02-1040).

    Args:
        x: rows of tokens, two at least; of an empty one it is 0.
        order: of the longest n-grams; no longer than the sentence.

    Raises:
        InputError: fewer than two sentences.
    """
    sentences = words_of(x)
    if len(sentences) < 2:
        raise InputError(f"x holds {len(sentences)} sentences: expected at least 2 to compare")
    orders = range(1, order + 1)
    hits, totals = np.array([_hits_and_totals(sentences, n) for n in orders]).transpose(1, 2, 0)
    has_any = totals > 0
    log_shares = np.log(np.maximum(hits, _SMALL) / np.maximum(totals, 1))
    mean = np.sum(log_shares, axis=1, where=has_any) / np.maximum(has_any.sum(axis=1), 1)
    scores = np.where(totals[:, 0] > 0, np.exp(mean + _log_brevity(totals[:, 0])), 0.0)
    return float(scores.mean())


def novel_share(x: Rows, train: Rows) -> float:
    """The share of sentences that are none of the training sentences.

    Args:
        x: rows of tokens.
        train: rows of the same tokens, of any length.
    """
    seen = {*words_of(train)}
    return float(np.mean([words not in seen for words in words_of(x)]))


def _ngrams(words: Sentence, order: int) -> list[Sentence]:
    return [words[first : first + order] for first in range(len(words) - order + 1)]


def _hits_and_totals(sentences: Sequence[Sentence], order: int) -> tuple[list[int], list[int]]:
    """Of each sentence, the n-grams that another has as often, and all of them."""
    counts = [Counter(_ngrams(words, order)) for words in sentences]
    # The most that one sentence has of an n-gram, and the most that another has.
    most: dict[Sentence, list[int]] = {}
    for of_sentence in counts:
        for gram, count in of_sentence.items():
            most[gram] = sorted([*most.get(gram, [0, 0]), count])[-2:]
    hits = [
        # Where a sentence has the most itself, the second most is what the others have.
        sum(min(count, most[gram][count < most[gram][1]]) for gram, count in of_sentence.items())
        for of_sentence in counts
    ]
    return hits, [sum(of_sentence.values()) for of_sentence in counts]


def _log_brevity(lengths):
    """1 - r / c of each sentence, at most 0; of two others as near the shorter one counts."""
    nearest = []
    known = Counter(lengths.tolist())
    for length in lengths.tolist():
        known[length] -= 1
        others = [other for other, num in known.items() if num]
        nearest.append(min(others, key=lambda other: (abs(other - length), other)))
        known[length] += 1
    return np.minimum(1 - np.array(nearest) / np.maximum(lengths, 1), 0.0)
