"""Sentences that begin as asked: what follows is as frequent as enumeration says."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bayes_jax.exact import quadrature
from bayes_jax.exact.hmm import CategoricalHMM
from bayes_jax.sequences import END, stays_ended
from vae_jax.configs import NGramConfig, SequenceConfig, TextSpec, TextVAEConfig
from vae_jax.systems.exact_text import MarkovSentences, build_ngram
from vae_jax.systems.text import build_text_vae, text_family, token_family
from vae_jax.tokenwise import Tokenwise

KEY = jax.random.key(0)
SPEC = TextSpec(num_tokens=3, length=4)
SMALL = SequenceConfig(width=8, dropout_rate=0.0)
ALL = np.array(list(itertools.product(range(3), repeat=4)), np.int32)
ROWS = ALL[stays_ended(ALL)]
NUM = 4000


def noisy(params, spread=0.5):
    """Weights far from where training starts."""
    leaves, treedef = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    pairs = zip(leaves, keys, strict=True)
    moved = [leaf + spread * jax.random.normal(key, leaf.shape) for leaf, key in pairs]
    return jax.tree.unflatten(treedef, moved)


def network():
    family = token_family(SMALL, SPEC)
    params = noisy(jax.jit(family.init)(KEY, jnp.asarray(ROWS), jnp.zeros(0)))
    return Tokenwise(params, jnp.zeros(0), body=family.body)


def chain():
    def log_shares(key, *shape):
        return jnp.log(jax.random.dirichlet(key, jnp.ones(shape)))

    keys = jax.random.split(jax.random.key(2), 3)
    shapes = (2,), (2, 2), (2, 3)
    return MarkovSentences(
        CategoricalHMM(*(log_shares(key, *shape) for key, shape in zip(keys, shapes, strict=True))),
        SPEC.length,
    )


DENSITIES = {"network": network, "chain": chain}


def check_frequencies(drawn, prefix, log_prob):
    """p(row | prefix) by enumeration over all rows; each within 4.5 standard errors."""
    begins_so = np.all(ROWS[:, : len(prefix)] == prefix, axis=1)
    probs = begins_so * np.exp(log_prob)
    probs /= probs.sum()
    assert np.all(drawn[:, : len(prefix)] == prefix)
    assert np.all(stays_ended(drawn))
    frequencies = np.array([np.mean(np.all(drawn == row, axis=1)) for row in ROWS])
    stderr = np.sqrt(probs * (1 - probs) / len(drawn))
    assert np.all(np.abs(frequencies - probs) < 4.5 * stderr + 1 / len(drawn))


@pytest.mark.parametrize("prefix", [[1], [2, 1], [1, 1, 2]])
@pytest.mark.parametrize("name", DENSITIES)
def test_densities_go_on_as_they_say(name, prefix):
    density = DENSITIES[name]()
    log_prob = np.asarray(jax.jit(density.log_prob)(jnp.asarray(ROWS)), np.float64)
    row = jnp.array(prefix + [0] * (SPEC.length - len(prefix)))
    draw = jax.jit(functools.partial(density.sample_after, sample_shape=(NUM,)))
    check_frequencies(np.asarray(draw(KEY, row, len(prefix))), prefix, log_prob)


def test_a_chain_of_sentences_sums_to_one():
    log_prob = np.asarray(chain().log_prob(jnp.asarray(ROWS)), np.float64)
    assert np.exp(log_prob).sum() == pytest.approx(1, abs=1e-5)
    check_frequencies(np.asarray(chain().sample(KEY, (NUM,))), [], log_prob)


def test_n_grams_go_on_as_they_say():
    system = build_ngram(NGramConfig(order=3), SPEC)
    model = system.generative(ROWS[::2])
    log_prob = np.asarray(model.log_evidence(KEY, ROWS).lower, np.float64)
    check_frequencies(model.continuations(KEY, np.array([2]), 1000), [2], log_prob)


@pytest.mark.slow
def test_a_latent_is_found_that_explains_the_beginning():
    """p(row | prefix) of a text VAE, z summed out on a lattice; 1000 particles are nearly exact."""
    config = TextVAEConfig(latent_dim=2, encoder=SMALL, decoder=SMALL)
    family, _ = text_family(config, SPEC)
    params = noisy(jax.jit(family.init)(KEY, jnp.asarray(ROWS)))
    latent = family.latent(params)
    x = jnp.asarray(ROWS, jnp.float32)
    log_prob = np.asarray(quadrature.log_evidence(latent, x, num_points=32).lower, np.float64)
    system = build_text_vae(config, SPEC)
    state = system.init(KEY, jnp.asarray(ROWS))._replace(params=params)
    model = system.generative(state)
    drawn = [model.continuations(key, np.array([1]), 100) for key in jax.random.split(KEY, 40)]
    check_frequencies(np.concatenate(drawn), [1], log_prob)


def test_greedy_is_the_most_probable_token_each_time():
    density = network()
    row = np.asarray(jax.jit(lambda density: density.greedy())(density))
    log_prob = np.asarray(density.log_prob(jnp.asarray(ROWS)), np.float64)
    expected = []
    for place in range(SPEC.length):
        begins_so = np.all(ROWS[:, :place] == expected, axis=1)
        totals = [
            np.exp(log_prob[begins_so & (ROWS[:, place] == token)]).sum() for token in range(3)
        ]
        expected.append(END if END in expected else int(np.argmax(totals)))
    np.testing.assert_array_equal(row, expected)
