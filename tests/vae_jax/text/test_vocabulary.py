"""Sentences as tokens and back."""

import json

import numpy as np
import pytest

from bayes_jax import InputError
from vae_jax.data.text.vocabulary import CUTS, UNKNOWN, Vocabulary, fit_vocabulary
from vae_jax.records import from_dict, to_plain

SENTENCES = ["the cat saw the dog", "the dog", "a naïve cat — 猫"]


@pytest.mark.parametrize("unit", CUTS)
def test_what_is_encoded_is_decoded(unit):
    vocabulary = fit_vocabulary(SENTENCES, unit=unit, min_count=1)
    rows = vocabulary.rows(SENTENCES)
    assert rows.dtype == np.int32
    assert vocabulary.sentences(rows) == SENTENCES
    assert rows.max() < len(vocabulary)
    assert len({*vocabulary.symbols}) == len(vocabulary)


def test_words_are_numbered_by_how_frequent_they_are():
    vocabulary = fit_vocabulary(SENTENCES, unit="word", min_count=2)
    assert vocabulary.symbols == ("<end>", "<unk>", "the", "cat", "dog")
    assert vocabulary.encode("the bird saw the dog") == [2, UNKNOWN, UNKNOWN, 2, 4, 0]


def test_bytes_are_all_there_and_never_unknown():
    vocabulary = fit_vocabulary(["a"], unit="byte", min_count=5)
    assert len(vocabulary) == 257
    assert vocabulary.encode("é") == [0xC3 + 1, 0xA9 + 1, 0]
    assert vocabulary.decode([0xC3 + 1, 0]) == "\N{REPLACEMENT CHARACTER}"


def test_rows_are_padded_with_the_end_and_cut():
    vocabulary = fit_vocabulary(SENTENCES, unit="word", min_count=2)
    np.testing.assert_array_equal(vocabulary.rows(["the cat", "dog"]), [[2, 3, 0], [4, 0, 0]])
    np.testing.assert_array_equal(vocabulary.rows(["the cat dog"], length=2), [[2, 3]])


def test_the_end_cannot_be_written():
    """A corpus that has the word <end> does not end there."""
    vocabulary = fit_vocabulary(["a <end> b"] * 2, unit="word", min_count=2)
    assert vocabulary.decode(vocabulary.encode("a <end> b")) == "a <end> b"


def test_a_vocabulary_is_saved_with_its_run():
    vocabulary = fit_vocabulary(SENTENCES, unit="character")
    plain = json.loads(json.dumps(to_plain(vocabulary)))
    assert from_dict(Vocabulary, plain) == vocabulary


def test_what_was_never_seen_is_one_line():
    vocabulary = fit_vocabulary(SENTENCES, unit="word", min_count=1)
    with pytest.raises(InputError, match="the word 'bird' was never seen in training") as error:
        vocabulary.encode("the bird")
    assert "\n" not in str(error.value)
    with pytest.raises(InputError, match="token 99: expected 0 to"):
        vocabulary.decode([99])
    with pytest.raises(InputError, match="no word stands 9 times"):
        fit_vocabulary(SENTENCES, unit="word", min_count=9)
    with pytest.raises(InputError, match="there are no sentences"):
        vocabulary.rows([])
