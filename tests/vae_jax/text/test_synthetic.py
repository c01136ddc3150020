"""The small English: what the issue asks of it, and a model that nears its entropy."""

import jax
import numpy as np
import pytest

from bayes_jax.exact import grammar as grammars
from bayes_jax.exact import ngram
from bayes_jax.sequences import lengths
from vae_jax.configs.text import TextConfig
from vae_jax.data.text import load_text, synthetic

KEY = jax.random.key(0)


def test_it_is_recursive_ambiguous_and_large_enough():
    rules, vocabulary = synthetic.grammar()
    assert len(vocabulary) - 1 >= 50
    reach = np.linalg.matrix_power(np.eye(len(rules.binary)) + (rules.mean_children > 0), 20)
    assert np.trace(rules.mean_children @ reach) > 0  # A symbol that can become itself again.
    found = grammars.string_entropy(KEY, rules, num=100)
    assert found.value - 5 * found.stderr > 10
    assert found.ambiguity > 5 * found.stderr
    assert found.value < grammars.derivation_entropy(rules) < 30


def test_every_sentence_is_one_and_others_are_not():
    sentences = synthetic.grammar_sentences()
    assert len(sentences) == synthetic.NUM_SENTENCES
    assert np.all(np.isfinite(synthetic.log_prob(sentences[:20])))
    wrong = ["dog the saw she", "she saw the zebra", "<unk> sings", "", "she saw the dog in"]
    np.testing.assert_array_equal(synthetic.log_prob(wrong), -np.inf)
    assert synthetic.parsed_share([*wrong, *sentences[:15]]) == 0.75


def test_two_readings_are_both_counted():
    """In "she saw the dog in the park", it may be the dog that is there, or the seeing."""
    rules, vocabulary = synthetic.grammar()
    (row,) = vocabulary.rows(["she saw the dog in the garden"])
    p = {name: dict(choices) for name, choices in synthetic.RULES.items()}
    p = {name: {k: v / sum(c.values()) for k, v in c.items()} for name, c in p.items()}
    noun_phrases = [p["NP"]["Det N"] * p["Det"]["the"] * p["N"][noun] for noun in ("dog", "garden")]
    shared = p["S"]["NP VP"] * p["NP"]["she"] * p["Vt"]["saw"] * p["P"]["in"] * p["VP"]["Vt NP"]
    shared *= np.prod(noun_phrases)
    expected = np.log(shared * (p["NP"]["NP PP"] + p["VP"]["VP PP"]))
    assert float(grammars.log_prob(rules, row)) == pytest.approx(expected, rel=1e-5)


def test_no_model_is_better_than_the_truth():
    """Kneser-Ney is worse than the grammar on test sentences by its KL divergence; both exact."""
    dataset = load_text(TextConfig("grammar"))
    assert set(dataset.unknown_shares.values()) == {0.0}
    params = ngram.fit_params(dataset.train, num_tokens=dataset.spec.num_tokens, order=3)
    x = dataset.test[:100]
    true = synthetic.log_prob(dataset.vocabulary.sentences(x))
    excess = true - ngram.log_prob(params, x)
    assert excess.mean() > 4 * excess.std() / np.sqrt(len(x))
    assert excess.mean() < 0.5 * lengths(x).mean()
