"""Scores of a whole batch, without its padding, are those of its rows one by one."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bayes_jax.sequences import END, in_sentence
from vae_jax.networks.sequence import scores

NUM_TOKENS, WIDTH = 5, 3
TOKENS = jnp.array(
    [[1, 2, END, END], [3, 1, 4, 2], [END] * 4, [2, END, END, END], [1, 1, END, END]]
)
COUNTS = in_sentence(TOKENS)


def normal(seed, *shape):
    return jax.random.normal(jax.random.key(seed), shape)


TABLE, BIAS = normal(0, NUM_TOKENS, WIDTH), normal(1, NUM_TOKENS)
FEATURES, PULL = normal(2, *TOKENS.shape, WIDTH), normal(3, *TOKENS.shape)


def in_batch(table, bias, features):
    one = functools.partial(scores.scores_in_batch, table, bias, axis_name="row")
    return jax.vmap(one, axis_name="row")(features, TOKENS)


def row_by_row(table, bias, features):
    each = jax.vmap(scores.row_scores, (None, None, 0, 0))(table, bias, features, TOKENS)
    return jnp.where(COUNTS, each, 0.0)


def pulled(function, *inputs):
    value, pullback = jax.vjp(function, *inputs)
    return value, *pullback(PULL)


@pytest.mark.parametrize("chunk", [1, 4, 7, 512])
def test_values_and_gradients_are_those_of_rows(monkeypatch, chunk):
    """In chunks of one, some of them hold nothing; in chunks of 7, the last is not full."""
    monkeypatch.setattr(scores, "_PLACES_OF_BATCH", chunk)
    found, expected = (pulled(each, TABLE, BIAS, FEATURES) for each in (in_batch, row_by_row))
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_a_place_scores_as_the_softmax_says():
    found = scores.row_scores(TABLE, BIAS, FEATURES[1], TOKENS[1])
    log_probs = jax.nn.log_softmax(FEATURES[1] @ TABLE.T + BIAS)
    np.testing.assert_allclose(found, log_probs[jnp.arange(4), TOKENS[1]], rtol=1e-5)


def test_padding_is_not_looked_at(monkeypatch):
    monkeypatch.setattr(scores, "_PLACES_OF_BATCH", 1)
    spoilt = jnp.where(COUNTS[..., None], FEATURES, jnp.nan)
    found, expected = (pulled(in_batch, TABLE, BIAS, each) for each in (spoilt, FEATURES))
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_several_draws_of_a_row_are_scored_alike():
    """As with several z of one x: a `vmap` inside that of the rows."""

    def one(features, tokens):
        def of_draw(scale):
            return scores.scores_in_batch(TABLE, BIAS, scale * features, tokens, axis_name="row")

        return jax.vmap(of_draw)(jnp.array([1.0, 2.0]))

    found = jax.vmap(one, axis_name="row")(FEATURES, TOKENS)
    for index, scale in enumerate([1.0, 2.0]):
        expected = in_batch(TABLE, BIAS, scale * FEATURES)
        np.testing.assert_allclose(found[:, index], expected, rtol=1e-5)
