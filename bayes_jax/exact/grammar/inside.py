"""log p(sentence), summed over all its derivations.

    inside(i, w)[A] = sum over k < w, B, C of p(A -> B C) inside(i, k)[B] inside(i + k, w - k)[C]

is the probability that A becomes the w tokens from place i on. Cells are kept with their largest
entry 1 and its logarithm aside, so that long sentences do not underflow.

References:
    Baker 1979, "Trainable grammars for speech recognition", https://doi.org/10.1121/1.2017061.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Num

from bayes_jax.errors import InputError
from bayes_jax.estimates import Evidence, exact_evidence
from bayes_jax.exact.grammar.rules import Grammar
from bayes_jax.sequences import END, lengths

_LENGTH_STEP = 16


def log_prob(grammar: Grammar, x: Num[Array | np.ndarray, " length"]) -> Float[Array, ""]:
    """log p of ONE sentence in nats, -inf where the grammar does not have it.

    Of order length^3 symbols^2 + length^2 symbols^3.

    Args:
        grammar: the rules.
        x: a row of tokens that holds its end.
    """
    x, num = jnp.asarray(x, jnp.int32), len(x)
    unary = jnp.asarray(grammar.unary, jnp.float32).T[x]
    cells, scales = _normalised(unary, jnp.zeros(num))
    chart = jnp.zeros((num + 1, *cells.shape)).at[1].set(cells)
    log_scale = jnp.full((num + 1, num), -jnp.inf).at[1].set(scales)

    def widen(carry, width):
        cells, scales = _combined(jnp.asarray(grammar.binary, jnp.float32), *carry, width)
        return (carry[0].at[width].set(cells), carry[1].at[width].set(scales)), None

    widths = jnp.arange(2, num)
    chart, log_scale = jax.lax.scan(widen, (chart, log_scale), widths)[0]
    num_words = lengths(x) - 1
    return jnp.log(chart[num_words, 0, 0]) + log_scale[num_words, 0]


def log_evidence(
    grammar: Grammar, x: Num[Array | np.ndarray, "num length"], *, batch_size: int = 32
) -> Evidence:
    """`log_prob` of many sentences, of about one length at a time: it is compiled once for each 16.

    Args:
        grammar: the rules.
        x: rows of tokens that hold their ends.
        batch_size: sentences in memory at once.

    Returns:
        Exact evidence; -inf of what is no sentence of the grammar.

    Raises:
        InputError: a row without its end, or with other numbers than tokens.
    """
    x = np.asarray(x)
    num_tokens = grammar.unary.shape[1]
    if not np.all((x >= 0) & (x < num_tokens)):
        raise InputError(f"x holds {x.min()} to {x.max()}: expected tokens 0 ... {num_tokens - 1}")
    has_end = np.any(x == END, axis=1)
    if not np.all(has_end):
        raise InputError(
            f"x[{int(np.argmin(has_end))}] has no end token: expected whole sentences, in rows "
            "that are longer than they are"
        )
    steps = -(-lengths(x) // _LENGTH_STEP)
    x = np.pad(x, ((0, 0), (0, -x.shape[1] % _LENGTH_STEP)), constant_values=END)
    found = np.zeros(len(x), np.float32)
    for step in np.unique(steps):
        chosen = np.flatnonzero(steps == step)
        for first in range(0, len(chosen), batch_size):
            rows = chosen[first : first + batch_size]
            batch = x[np.resize(rows, batch_size), : step * _LENGTH_STEP]
            found[rows] = _log_probs(grammar, batch)[: len(rows)]
    return exact_evidence(jnp.asarray(found))


@jax.jit
def _log_probs(grammar, x):
    return jax.vmap(partial(log_prob, grammar))(x)


def _combined(binary, chart, log_scale, width):
    """The cells of one width, from pairs of narrower ones."""
    start, left = jnp.meshgrid(*(jnp.arange(size) for size in chart.shape[1::-1]), indexing="ij")
    is_split = (left >= 1) & (left < width) & (start + width <= chart.shape[1])
    right = jnp.where(is_split, width - left, 0)
    after = jnp.where(is_split, start + left, 0)
    log_weight = jnp.where(is_split, log_scale[left, start] + log_scale[right, after], -jnp.inf)
    top = _finite(jnp.max(log_weight, axis=1))
    weight = jnp.exp(log_weight - top[:, None])
    pairs = jnp.einsum("ik,ikb,ikc->ibc", weight, chart[left, start], chart[right, after])
    return _normalised(jnp.einsum("abc,ibc->ia", binary, pairs), top)


def _normalised(cells, log_scale):
    """Cells with their largest entry 1, and the logarithm of what they were; -inf of empty ones."""
    largest = jnp.max(cells, axis=1)
    return cells / jnp.where(largest > 0, largest, 1.0)[:, None], jnp.log(largest) + log_scale


def _finite(log_weight):
    return jnp.where(jnp.isfinite(log_weight), log_weight, 0.0)
