"""Interpolated modified Kneser-Ney: p(token | the tokens before it), from counts alone.

    p(w | c) = (a(cw) - D(a(cw))) / a(c.) + gamma(c) p(w | c without its first token)

where a is the number of times an n-gram was seen (of the longest n-grams, and of those that begin a
sentence) or the number of different tokens it was seen after (of the shorter ones), a(c.) sums it
over the next token, and gamma(c) gives back what the discounts D took, so that p sums to one. The
shortest context, none, goes on to the uniform distribution: no token has probability zero. It is
close to what a hierarchical Pitman-Yor process predicts.

N-grams are nodes of a trie, one level for each length, found by a binary search of sorted keys.

References:
    Chen, Goodman 1999, "An empirical study of smoothing techniques for language modeling",
    https://doi.org/10.1006/csla.1999.0128. Counts of n-grams that begin a sentence: Heafield et al.
    2013, https://aclanthology.org/P13-2121. As Bayesian inference: Teh 2006,
    https://aclanthology.org/P06-1124.
"""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float64, Int64, Num, PRNGKeyArray

from bayes_jax.errors import InputError
from bayes_jax.estimates import Evidence, exact_evidence
from bayes_jax.model import GenerativeModel
from bayes_jax.sequences import END, in_sentence

Rows = Num[Array | np.ndarray, "num length"]

_ROOT, _MISSING = 0, -1
_USUAL_DISCOUNTS = np.array([0.0, 0.5, 1.0, 1.5])


class Level(NamedTuple):
    """The n-grams of one length that were seen, each with its number, its node.

    Attributes:
        keys: sorted, (node of all but the last token) * (num_tokens + 1) + last token.
        share: of its context's probability that the last token has for itself, discounted.
        backoff: gamma of the n-gram as a context; 1 where nothing was seen after it.
    """

    keys: Int64[np.ndarray, " node"]
    share: Float64[np.ndarray, " node"]
    backoff: Float64[np.ndarray, " node"]


class NGram(NamedTuple):
    """A fitted model, on the host.

    Attributes:
        levels: of n-grams of length 0 (only the empty one), 1, ..., order.
        num_tokens: of the vocabulary, `END` counted; the begin of a sentence has this number.
    """

    levels: tuple[Level, ...]
    num_tokens: int


def fit_params(x: Rows, *, num_tokens: int, order: int = 5) -> NGram:
    """Count the n-grams of some sentences.

    Args:
        x: rows of tokens as `bayes_jax.sequences` has them.
        num_tokens: of the vocabulary; tokens are 0 ... num_tokens - 1.
        order: of the longest n-grams, a context and the token after it, 1 to 5; less where no
            sentence is as long.

    Returns:
        The model. Each length has discounts for counts of 1, 2 and more, estimated from how many
        n-grams have each count; where that gives none between 0 and the count, 0.5, 1 and 1.5.

    Raises:
        InputError: rows or options that cannot be used.
    """
    x = _checked(x, num_tokens)
    if not 1 <= order <= 5:
        raise InputError(f"order is {order}: expected 1 to 5")
    symbols = np.where(_in_text(x), _with_begin(x, num_tokens), _MISSING)
    keys, nodes = [np.zeros(1, np.int64)], [_roots(x)]
    for _ in range(order):
        wanted = _keys(nodes[-1], symbols, num_tokens)
        found = np.unique(wanted[wanted != _MISSING])
        if not len(found):
            break
        keys.append(found)
        nodes.append(_find(found, wanted))
    counts = [_counts(nodes, length) for length in range(1, len(nodes))]
    counts[0][keys[1] == num_tokens] = 0  # The begin of a sentence is given, never predicted.
    return NGram(_levels(keys, counts, num_tokens), num_tokens)


def log_prob_tokens(params: NGram, x: Rows) -> Float64[np.ndarray, "num length"]:
    """log p(token | the tokens before it) in nats, 0 beyond the end of a sentence.

    Args:
        params: of the model.
        x: rows of tokens.

    Raises:
        InputError: other numbers than tokens.
    """
    x = _checked(x, params.num_tokens)
    symbols = _with_begin(x, params.num_tokens)
    contexts, probs = _roots(x), np.full(x.shape, 1 / params.num_tokens)
    for shorter, level in zip(params.levels[:-1], params.levels[1:], strict=True):
        nodes = _find(level.keys, _keys(contexts, symbols, params.num_tokens))
        given, tokens = contexts[:, 1:-1], nodes[:, 2:]
        share = np.where(tokens == _MISSING, 0.0, level.share[tokens])
        probs = np.where(given == _MISSING, probs, share + shorter.backoff[given] * probs)
        contexts = nodes
    return np.where(in_sentence(x), np.log(probs), 0.0)


def log_prob(params: NGram, x: Rows) -> Float64[np.ndarray, " num"]:
    """log p of each sentence in nats, its end counted."""
    return log_prob_tokens(params, x).sum(axis=1)


def next_probs(params: NGram, history: Sequence[int]) -> Float64[np.ndarray, " token"]:
    """p(token | history) of every token.

    Args:
        params: of the model.
        history: the tokens since the begin of the sentence; its end is not among them.
    """
    probs = np.full(params.num_tokens, 1 / params.num_tokens)
    symbols = [params.num_tokens, *history]
    for length in range(min(len(params.levels) - 1, len(symbols) + 1)):
        node = _node_of(params, symbols[len(symbols) - length :])
        if node == _MISSING:
            break
        probs *= params.levels[length].backoff[node]
        keys, share, _ = params.levels[length + 1]
        first_key = node * (params.num_tokens + 1)
        after = slice(*np.searchsorted(keys, [first_key, first_key + params.num_tokens]))
        probs[keys[after] - first_key] += share[after]
    return probs


def sample(
    key: PRNGKeyArray, params: NGram, num: int, *, length: int, prefix: Sequence[int] = ()
) -> Num[np.ndarray, "num length"]:
    """Sentences, token by token on the host.

    Args:
        key: a PRNG key.
        params: of the model.
        num: sentences.
        length: of a row; a sentence that has not ended by then is cut.
        prefix: the tokens that all of them begin with, shorter than a row.
    """
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)).ravel())
    rows = np.full((num, length), END, np.int32)
    rows[:, : len(prefix)] = prefix
    for row in rows:
        for place in range(len(prefix), length):
            probs = next_probs(params, row[:place].tolist())
            row[place] = rng.choice(params.num_tokens, p=probs / probs.sum())
            if row[place] == END:
                break
    return rows


def generative(params: NGram, *, length: int) -> GenerativeModel:
    """A fitted model with exact evidence.

    Args:
        params: from `fit_params`.
        length: of the rows that it draws.
    """
    return GenerativeModel(
        sample=lambda key, num: sample(key, params, num, length=length),
        log_evidence=partial(_log_evidence, params),
        continuations=lambda key, prefix, num: sample(
            key, params, num, length=length, prefix=np.asarray(prefix).tolist()
        ),
    )


def _log_evidence(params: NGram, key: PRNGKeyArray, x: Rows) -> Evidence:
    del key  # Nothing is random here.
    return exact_evidence(jnp.asarray(log_prob(params, x), jnp.float32))


def _with_begin(x, num_tokens):
    """The symbols of a text, `[num, 1 + length]`."""
    return np.pad(x, ((0, 0), (1, 0)), constant_values=num_tokens)


def _in_text(x):
    return np.pad(in_sentence(x), ((0, 0), (1, 0)), constant_values=True)


def _roots(x):
    """The empty n-gram before the text and after each of its symbols, `[num, 2 + length]`."""
    return np.full((len(x), x.shape[1] + 2), _ROOT)


def _keys(nodes, symbols, num_tokens):
    """Of the n-grams that end in each symbol, one longer than those of the nodes."""
    before = nodes[:, :-1]
    is_missing = (before == _MISSING) | (symbols == _MISSING)
    return np.where(is_missing, _MISSING, before * (num_tokens + 1) + symbols)


def _find(keys, wanted):
    """The nodes of some keys, laid out as `_roots`; before the text there are none."""
    places = np.searchsorted(keys, wanted).clip(max=len(keys) - 1)
    nodes = np.where(keys[places] == wanted, places, _MISSING)
    return np.pad(nodes, ((0, 0), (1, 0)), constant_values=_MISSING)


def _node_of(params: NGram, symbols: Sequence[int]) -> int:
    node = _ROOT
    for level, symbol in zip(params.levels[1:], symbols, strict=False):
        key = node * (params.num_tokens + 1) + symbol
        node = int(np.searchsorted(level.keys, key))
        if node == len(level.keys) or level.keys[node] != key:
            return _MISSING
    return node


def _counts(nodes, length):
    """How often each n-gram was seen; of shorter ones, after how many different symbols."""
    own = nodes[length]
    seen = np.bincount(own[own != _MISSING])
    if length == len(nodes) - 1:
        return seen
    longer, first_places = np.unique(nodes[length + 1], return_index=True)
    suffixes = own.ravel()[first_places[longer != _MISSING]]
    counts = np.bincount(suffixes, minlength=len(seen))
    # Nothing stands before the begin of a sentence.
    initial = np.setdiff1d(own[:, length], _MISSING)
    counts[initial] = seen[initial]
    return counts


def _levels(keys, counts, num_tokens) -> tuple[Level, ...]:
    shares, backoffs = [np.ones(1)], []
    for level_keys, level_counts, shorter in zip(keys[1:], counts, keys[:-1], strict=True):
        parents = level_keys // (num_tokens + 1)
        taken = _discounts(level_counts)[level_counts.clip(max=3)]
        total = np.bincount(parents, level_counts, minlength=len(shorter))
        shares.append((level_counts - taken) / total[parents])
        given_back = np.bincount(parents, taken, minlength=len(shorter))
        backoffs.append(np.where(total > 0, given_back / np.maximum(total, 1), 1.0))
    backoffs.append(np.ones(len(keys[-1])))
    return tuple(map(Level, keys, shares, backoffs))


def _discounts(counts) -> Float64[np.ndarray, "4"]:
    """Of counts 0, 1, 2 and more (Chen, Goodman 1999, equation 26)."""
    num = np.bincount(counts.clip(max=5), minlength=6)[1:5].astype(float)
    if np.any(num == 0):
        return _USUAL_DISCOUNTS
    ratio = num[0] / (num[0] + 2 * num[1])
    steps = np.arange(1, 4)
    found = steps - (steps + 1) * ratio * num[1:] / num[:-1]
    return np.r_[0.0, found] if np.all((found > 0) & (found < steps)) else _USUAL_DISCOUNTS


def _checked(x, num_tokens) -> Num[np.ndarray, "num length"]:
    """Rows of whole numbers, on the host."""
    x = np.asarray(x)
    if x.ndim != 2 or 0 in x.shape:
        raise InputError(f"x has shape {x.shape}: expected rows of tokens [num, length]")
    is_token = (x >= 0) & (x < num_tokens) & (x == np.floor(x))
    if not np.all(is_token):
        row = int(np.argmin(is_token.all(axis=1)))
        raise InputError(
            f"x[{row}] holds {x[row][~is_token[row]][0]:g}: expected tokens 0 ... {num_tokens - 1}"
        )
    return x.astype(np.int64)
