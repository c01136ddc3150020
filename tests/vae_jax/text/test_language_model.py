"""The language model as a system: it learns a chain up to its entropy rate, and refuses misfits."""

import functools

import jax
import numpy as np
import pytest

from bayes_jax import InputError
from bayes_jax.estimates import EvidenceKind
from bayes_jax.sequences import END, lengths, perplexity, stays_ended
from vae_jax import training
from vae_jax.configs import (
    ConfigError,
    LanguageModelConfig,
    OptimizerConfig,
    SequenceConfig,
    TextSpec,
    TrainConfig,
)
from vae_jax.systems.text import build_language_model

KEY = jax.random.key(0)
SPEC = TextSpec(num_tokens=5, length=8)
TRANSITION = np.array(
    [[0, 0.4, 0.3, 0.2, 0.1]] + [np.roll([0.15, 0.05, 0.6, 0.1, 0.1], shift) for shift in range(4)]
)
"""p(next | token); the end token's row is how a sentence begins."""


def chain(num, seed):
    """Sentences of the chain, and the true log p of their rows."""
    rng = np.random.default_rng(seed)
    rows, log_prob = np.full((num, SPEC.length), END, np.int32), np.zeros(num)
    for index, row in enumerate(rows):
        token = END
        for place in range(SPEC.length):
            new = rng.choice(5, p=TRANSITION[token])
            log_prob[index] += np.log(TRANSITION[token, new])
            row[place] = token = new
            if token == END:
                break
    return rows, log_prob


@functools.cache
def trained(network):
    config = LanguageModelConfig(
        SequenceConfig(network, width=16, num_heads=2, dropout_rate=0.0), OptimizerConfig(1.0)
    )
    system = build_language_model(config, SPEC)
    train, validation = chain(2000, 0)[0], chain(300, 1)[0]
    options = TrainConfig(num_epochs=12, batch_size=50, learning_rate=1e-2)
    return system.generative(training.fit(KEY, system, train, validation, options).state)


@pytest.mark.parametrize("network", ["gru", pytest.param("transformer", marks=pytest.mark.long)])
def test_it_learns_a_chain_up_to_its_entropy(network):
    """Paired with the truth on test sentences: worse, by little; then so are its own draws."""
    model = trained(network)
    x, true = chain(500, 2)
    evidence = model.log_evidence(KEY, x)
    assert evidence.kind == EvidenceKind.EXACT
    excess = true - np.asarray(evidence.lower, np.float64)
    stderr = excess.std() / np.sqrt(len(x))
    assert -4 * stderr < excess.mean() < 0.05 * -true.mean()
    drawn = np.asarray(model.sample(KEY, 500))
    assert np.all(stays_ended(drawn))
    found, expected = (
        perplexity(log_prob, lengths(rows))
        for log_prob, rows in ((model.log_evidence(KEY, drawn).lower, drawn), (true, x))
    )
    assert abs(found.value - expected.value) < 4 * np.hypot(found.stderr, expected.stderr)


def test_untrained_it_knows_how_frequent_tokens_are():
    system = build_language_model(LanguageModelConfig(SequenceConfig(width=8)), SPEC)
    x = chain(500, 0)[0]
    bias = np.asarray(system.init(KEY, x).params["params"]["bias"])
    counts = np.bincount(x.ravel(), minlength=5)
    counts[END] = np.sum(np.any(x == END, axis=1))
    np.testing.assert_allclose(np.exp(bias), (counts + 1) / (counts.sum() + 5), rtol=1e-5)


def test_what_does_not_fit_is_one_line():
    system = build_language_model(LanguageModelConfig(SequenceConfig(width=8)), SPEC)
    options = TrainConfig(num_epochs=1, batch_size=5)
    x = chain(20, 0)[0]
    with pytest.raises(InputError, match=r"x has shape \(20, 6\), the system is built for"):
        training.fit(KEY, system, x[:, :6], x[:, :6], options)
    wrong = x.copy()
    wrong[3, 2] = 5
    with pytest.raises(InputError, match=r"train: x\[3\] lies outside the support of p\(x\)"):
        training.fit(KEY, system, wrong, x, options)
    with pytest.raises(ConfigError, match=r"width is 6: expected a multiple of num_heads \(4\)"):
        SequenceConfig("transformer", width=6)
