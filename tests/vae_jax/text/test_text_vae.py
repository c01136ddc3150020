"""The text VAE with a latent of two dimensions, where quadrature knows its evidence."""

import itertools
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bayes_jax.exact import quadrature
from bayes_jax.importance import importance_bound
from bayes_jax.sequences import END, stays_ended
from vae_jax import training
from vae_jax.configs import (
    ConfigError,
    ObjectiveConfig,
    PosteriorConfig,
    SequenceConfig,
    TextSpec,
    TextVAEConfig,
    TrainConfig,
)
from vae_jax.systems.gradient import BATCH_AXIS
from vae_jax.systems.text import build_text_vae, text_family, token_family

KEY = jax.random.key(0)
SPEC = TextSpec(num_tokens=3, length=4)
SMALL = SequenceConfig("gru", width=8, dropout_rate=0.0)
CONFIG = TextVAEConfig(latent_dim=2, encoder=SMALL, decoder=SMALL)
ALL = np.array(list(itertools.product(range(3), repeat=4)), np.int32)
ROWS = jnp.asarray(ALL[stays_ended(ALL)])


@pytest.fixture(scope="module")
def params():
    family, _ = text_family(CONFIG, SPEC)
    params = jax.jit(family.init)(KEY, ROWS)
    leaves, treedef = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    noisy = [
        leaf + 0.5 * jax.random.normal(key, leaf.shape)
        for leaf, key in zip(leaves, keys, strict=True)
    ]
    return jax.tree.unflatten(treedef, noisy)


def test_evidence_sums_to_one_and_bounds_lie_below(params):
    """Over all rows, z summed out on a lattice; what is drawn from the prior nears it, and
    what is drawn from a guide that is far off lies below."""
    family, _ = text_family(CONFIG, SPEC)
    latent = family.latent(params)
    exact = np.asarray(quadrature.log_evidence(latent, ROWS, num_points=32).lower, np.float64)
    assert np.exp(exact).sum() == pytest.approx(1, abs=1e-3)  # the tolerance of the lattice
    guided, unguided = (
        importance_bound(KEY, latent, ROWS, guide=guide, num_samples=1000)
        for guide in (family.guide(params), lambda x: latent.prior)
    )
    below, near = (np.asarray(bound.lower) - exact for bound in (guided, unguided))
    assert np.all(below < 5 * np.asarray(guided.stderr_lower) + 1e-3)
    assert np.all(np.abs(near) < 5 * np.asarray(unguided.stderr_lower) + 1e-3)


def test_the_encoder_reads_up_to_the_end(params):
    family, _ = text_family(CONFIG, SPEC)
    guide = jax.jit(lambda x: family.guide(params)(x).mean)
    row = jnp.array([1, 2, END, END])
    same = guide(row.at[3].set(2))
    np.testing.assert_array_equal(guide(row), same)
    assert np.all(guide(row) != guide(row.at[1].set(1)))


def test_a_word_that_is_dropped_is_not_read():
    """With all of them dropped, the decoder is told nothing but the place: its scores of a token no
    longer depend on those before it."""
    family = token_family(SMALL, SPEC)
    params = jax.jit(family.init)(KEY, ROWS, jnp.zeros(2))
    body = family.in_training(KEY, word_dropout_rate=1.0)

    def scores(body, previous):
        tokens = jnp.array([[1, 2, 1, 2]])
        score = jax.vmap(body.log_probs, (None, None, 0, None), axis_name=BATCH_AXIS)
        return score(params, previous, tokens, jnp.zeros(2))

    rows = jnp.array([[3, 1, 2, 1], [3, 2, 2, 2]])
    np.testing.assert_array_equal(scores(body, rows[0]), scores(body, rows[1]))
    kept = family.in_training(KEY, word_dropout_rate=0.0)
    assert np.any(scores(kept, rows[0]) != scores(kept, rows[1]))


def test_the_encoder_drops_features_in_training_alone(params):
    config = replace(CONFIG, encoder=replace(SMALL, dropout_rate=0.5))
    family, in_training = text_family(config, SPEC)
    keys = jax.random.split(KEY, 2000)
    mean = jax.jit(lambda key: in_training(params, key)[1](ROWS[5]).mean)
    spread = np.asarray(jnp.std(jax.vmap(mean)(keys), axis=0))
    assert np.all(spread > 0.01)
    np.testing.assert_array_equal(*[family.guide(params)(ROWS[5]).mean for _ in range(2)])


def test_at_first_a_latent_says_no_more_than_a_word():
    """More would drown the words, and the decoder would learn slower than without it."""
    spec, network = TextSpec(num_tokens=50, length=4), SequenceConfig("gru", width=64)
    rows = jnp.zeros((2, 4), jnp.int32)
    params = jax.jit(token_family(network, spec).init)(KEY, rows, jnp.zeros(8))["params"]
    kernel = params["core"]["of_context"]["Dense_0"]["kernel"]
    z = jax.random.normal(jax.random.key(1), (500, 8))
    sizes = [float(jnp.std(each)) for each in (z @ kernel, params["table"])]
    assert sizes[0] == pytest.approx(sizes[1], rel=0.2)


@pytest.mark.long
def test_it_learns_a_topic():
    """Sentences of two kinds of words: one unit tells which, and the ELBO nears the entropy.

    Given the topic, three words are drawn from two with equal odds: log p = -4 log 2.
    """
    rng = np.random.default_rng(0)
    topic = rng.integers(0, 2, (1200, 1))
    x = np.full((1200, 4), END, np.int32)
    x[:, :3] = 1 + 2 * topic + rng.integers(0, 2, (1200, 3))
    config = TextVAEConfig(
        latent_dim=2,
        encoder=SMALL,
        decoder=SMALL,
        word_dropout_rate=0.8,
        objective=ObjectiveConfig("beta", num_warmup_steps=200),
    )
    system = build_text_vae(config, TextSpec(num_tokens=5, length=4))
    options = TrainConfig(num_epochs=40, batch_size=50, learning_rate=1e-2)
    result = training.fit(KEY, system, x[:1000], x[1000:], options)
    last = result.history[result.best_epoch - 1].validation
    assert last["active_units"] >= 1
    assert last["kl"] > 0.5
    assert last["elbo"] == pytest.approx(-4 * np.log(2), abs=0.3)


def test_an_objective_without_its_posterior_is_one_line():
    with pytest.raises(ConfigError, match="objective is 'free_bits': expected a mean_field"):
        TextVAEConfig(posterior=PosteriorConfig("full_rank"))
