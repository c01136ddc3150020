"""log p of tokens from features, by a softmax over a whole vocabulary.

What is read costs little beside it. So no more of its logits are in memory than a few places have,
the backward pass makes them anew, and in training a batch is scored as one, its padding left out.
"""

import jax
import jax.numpy as jnp
from jax.scipy.special import logsumexp
from jaxtyping import Array, Bool, Float, Int

from bayes_jax.sequences import in_sentence

_PLACES_OF_ROW = 8
_PLACES_OF_BATCH = 512


def row_scores(
    table: Float[Array, "token width"],
    bias: Float[Array, " token"],
    features: Float[Array, "place width"],
    tokens: Int[Array, " place"],
) -> Float[Array, " place"]:
    """log softmax(table features + bias)[token] at every place of ONE row, in nats.

    Args:
        table: what features are held against.
        bias: of every token.
        features: of each place.
        tokens: to be scored.
    """

    @jax.checkpoint
    def of_place(inputs):
        features, token = inputs
        logits = features @ table.T + bias  # a third less time on a CPU than table @ features
        return logits[token] - logsumexp(logits)

    return jax.lax.map(of_place, (features, tokens), batch_size=min(_PLACES_OF_ROW, len(tokens)))


def scores_in_batch(
    table: Float[Array, "token width"],
    bias: Float[Array, " token"],
    features: Float[Array, "place width"],
    tokens: Int[Array, " place"],
    *,
    axis_name: str,
) -> Float[Array, " place"]:
    """`row_scores` of one row of a `vmap`, 0 beyond its end; all rows are scored together.

    English sentences fill a third of rows that are as long as the longest: so much less work.

    Args:
        table: the same for all rows.
        bias: the same for all rows.
        features: of each place of this row.
        tokens: to be scored.
        axis_name: of the `vmap`.
    """
    rows, features = jax.lax.all_gather((tokens, features), axis_name)
    counts = in_sentence(rows).ravel()
    scores = scores_where(table, bias, features.reshape(len(counts), -1), rows.ravel(), counts)
    return scores.reshape(rows.shape)[jax.lax.axis_index(axis_name)]


@jax.custom_vjp
def scores_where(
    table: Float[Array, "token width"],
    bias: Float[Array, " token"],
    features: Float[Array, "place width"],
    tokens: Int[Array, " place"],
    counts: Bool[Array, " place"],
) -> Float[Array, " place"]:
    """`row_scores` of the places that count, 0 of the others, on which no time is spent.

    Args:
        table: what features are held against.
        bias: of every token.
        features: of each place.
        tokens: to be scored.
        counts: whether a place does.
    """
    return _forward(table, bias, features, tokens, counts)[0]


def _forward(table, bias, features, tokens, counts):
    order, num_chunks = _chunks(counts)
    inputs = _taken(features, order), _taken(tokens, order)

    def one_chunk(index, carry):
        features, tokens = (part[index] for part in inputs)
        logits = features @ table.T + bias
        log_total = logsumexp(logits, axis=1)
        scores = logits[jnp.arange(len(tokens)), tokens] - log_total
        return carry[0].at[index].set(scores), carry[1].at[index].set(log_total)

    nothing = jnp.zeros(order.shape, features.dtype)
    scores, log_total = jax.lax.fori_loop(0, num_chunks, one_chunk, (nothing, nothing))
    kept = table, bias, features, tokens, counts, log_total
    return _put_back(jnp.zeros(len(counts), scores.dtype), order, scores) * counts, kept


def _backward(kept, cotangent):
    table, bias, features, tokens, counts, log_total = kept
    order, num_chunks = _chunks(counts)
    inputs = (_taken(values, order) for values in (features, tokens, cotangent * counts))
    inputs = *inputs, log_total

    def one_chunk(index, carry):
        of_table, of_bias, of_features = carry
        features, tokens, pull, log_total = (part[index] for part in inputs)
        of_logits = -pull[:, None] * jnp.exp(features @ table.T + bias - log_total[:, None])
        of_logits = of_logits.at[jnp.arange(len(tokens)), tokens].add(pull)
        return (
            of_table + of_logits.T @ features,
            of_bias + jnp.sum(of_logits, axis=0),
            of_features.at[index].set(of_logits @ table),
        )

    start = jax.tree.map(jnp.zeros_like, (table, bias, inputs[0]))
    of_table, of_bias, of_features = jax.lax.fori_loop(0, num_chunks, one_chunk, start)
    of_features = _put_back(jnp.zeros_like(features), order, of_features)
    return of_table, of_bias, of_features, None, None


scores_where.defvjp(_forward, _backward)


def _chunks(counts):
    """The numbers of all places `[chunk, place]`, those that count first, filled up with a number
    too high; and how many chunks hold one that counts."""
    num = len(counts)
    size = min(_PLACES_OF_BATCH, num)
    order = jnp.pad(jnp.argsort(~counts, stable=True), (0, -num % size), constant_values=num)
    return order.reshape(-1, size), -(-jnp.sum(counts) // size)


def _taken(values, order):
    return values.at[order].get(mode="fill", fill_value=0)


def _put_back(values, order, new):
    return values.at[order].set(new, mode="drop")
