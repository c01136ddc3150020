"""Tokens one after the other: total probability, order, ends, and draws that have their density."""

import functools
import itertools
import typing

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bayes_jax.sequences import END, lengths, stays_ended
from vae_jax.configs import SequenceConfig, SequenceName, TextSpec
from vae_jax.systems.gradient import BATCH_AXIS
from vae_jax.systems.text import token_family
from vae_jax.tokenwise import Tokenwise

NETWORKS = typing.get_args(SequenceName)
SPEC = TextSpec(num_tokens=4, length=5)
ALL = np.array(list(itertools.product(range(4), repeat=5)))
ROWS = jnp.array(ALL[stays_ended(ALL)])


@functools.cache
def some(network, *, context=3, spread=0.5):
    """A density with weights far from where training starts."""
    config = SequenceConfig(network, width=8, num_layers=2, num_heads=2)
    family = token_family(config, SPEC)
    params = jax.jit(family.init)(jax.random.key(0), ROWS, jnp.zeros(context))
    leaves, treedef = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    noisy = [
        leaf + spread * jax.random.normal(key, leaf.shape)
        for leaf, key in zip(leaves, keys, strict=True)
    ]
    given = jax.random.normal(jax.random.key(2), (context,))
    return Tokenwise(jax.tree.unflatten(treedef, noisy), given, body=family.body)


def by_token(density, row):
    """log p of each token of a row, by `start` and `advance`."""
    advance = jax.jit(density.body.advance)
    cache, previous = density.body.start(density.params, density.context), SPEC.num_tokens
    found = []
    for index, token in enumerate(row):
        cache, logits = advance(density.params, cache, jnp.int32(index), jnp.int32(previous))
        found.append(jax.nn.log_softmax(logits)[token])
        previous = token
    return np.array(found)


@pytest.mark.parametrize("network", NETWORKS)
def test_probabilities_of_all_rows_sum_to_one(network):
    """Of sentences that end within a row and of the beginnings of longer ones together."""
    density = some(network)
    log_prob = np.asarray(jax.jit(density.log_prob)(ROWS), np.float64)
    assert np.exp(log_prob).sum() == pytest.approx(1, abs=1e-5)
    assert log_prob.std() > 0.5
    assert bool(jnp.all(density.support(ROWS)))


@pytest.mark.parametrize("network", NETWORKS)
def test_log_p_is_the_sum_over_tokens_up_to_the_end(network):
    """Token by token with what was kept, as in one pass; what is after the end costs nothing."""
    density = some(network)
    rows = np.array([[2, 1, END, END, END], [3, 3, 1, 2, 1], [END] * 5])
    expected = [
        by_token(density, row)[:length].sum()
        for row, length in zip(rows.tolist(), lengths(rows), strict=True)
    ]
    found = jax.jit(density.log_prob)(jnp.asarray(rows))
    np.testing.assert_allclose(found, expected, rtol=1e-4)


@pytest.mark.parametrize("network", NETWORKS)
def test_a_token_sees_all_before_it_and_no_other(network):
    density = some(network)
    row = jnp.array([1, 2, 3, 1, 2])

    @jax.jit
    def scores(previous):
        return density.body.log_probs(density.params, previous, row, density.context)

    plain = np.asarray(scores(row))
    for place in range(SPEC.length):
        changed = np.asarray(scores(row.at[place].set(SPEC.num_tokens))) != plain
        np.testing.assert_array_equal(changed, np.arange(SPEC.length) >= place)


@pytest.mark.parametrize("network", NETWORKS)
def test_a_context_moves_every_token(network):
    density = some(network, context=3)
    row = jnp.array([1, 2, 3, 1, 2])
    slope = jax.jit(jax.jacobian(lambda c: density.body.log_probs(density.params, row, row, c)))
    assert np.all(np.abs(slope(density.context)).max(axis=1) > 1e-6)


@pytest.mark.parametrize("network", NETWORKS)
def test_draws_are_as_frequent_as_they_are_probable(network):
    density = some(network, context=0)
    x = np.asarray(jax.jit(lambda key: density.sample(key, (4000,)))(jax.random.key(5)))
    rows, counts = np.unique(x, axis=0, return_counts=True)
    probs = np.exp(np.asarray(jax.jit(density.log_prob)(jnp.asarray(rows)), np.float64))
    stderr = np.sqrt(probs * (1 - probs) / len(x))
    assert np.all(np.abs(counts / len(x) - probs) < 4.5 * stderr + 1 / len(x))
    assert np.all(stays_ended(x))
    assert probs.sum() > 0.8


def test_what_is_no_row_is_outside_the_support():
    density = some("gru")
    rows = jnp.array([[1, END, 2, 0, 0], [4, 0, 0, 0, 0], [1, 1, 1, 1, -1], [1, 2, 3, 0, 0]])
    np.testing.assert_array_equal(density.support(rows), [False, False, False, True])
    assert not density.support(jnp.array([0.5, 0, 0, 0, 0]))


def test_features_are_dropped_in_training_alone():
    family = token_family(SequenceConfig("gru", width=8, dropout_rate=0.5), SPEC)
    params = jax.jit(family.init)(jax.random.key(0), ROWS, jnp.zeros(0))
    keys = jax.random.split(jax.random.key(3))
    bodies = family.body, family.body, *map(family.in_training, keys)

    def log_prob(body):
        one = Tokenwise(params, jnp.zeros(0), body=body).log_prob
        return jax.vmap(one, axis_name=BATCH_AXIS)(ROWS[100:101])[0]

    found = [log_prob(body) for body in bodies]
    assert found[0] == found[1]
    assert len({*map(float, found)}) == 3
