"""Corpora: what stands in them, how they are split, and what is refused."""

import zipfile

import numpy as np
import pytest

from bayes_jax import InputError
from bayes_jax.sequences import lengths, stays_ended
from vae_jax.configs import ConfigError
from vae_jax.configs.text import TextConfig
from vae_jax.data import formats
from vae_jax.data.text import load_text
from vae_jax.data.text.sources import read_sentences
from vae_jax.data.text.vocabulary import UNKNOWN


def test_python_brings_english_sentences():
    sentences = read_sentences("pydoc")
    assert len(sentences) > 1000
    assert sum("function" in sentence.split() for sentence in sentences) > 20
    assert all(sentence == sentence.lower() for sentence in sentences)
    assert all(4 <= len(sentence.split()) <= 60 for sentence in sentences)
    assert len({*sentences}) == len(sentences)


@pytest.fixture
def lines(tmp_path):
    """A file of twenty lines, each with a word of its own."""
    path = tmp_path / "lines.txt"
    path.write_text("".join(f"line number w{index}\r\n\n" for index in range(20)), encoding="utf-8")
    return path


def test_a_file_of_lines_is_split_and_padded(lines):
    dataset = load_text(TextConfig(str(lines)))
    parts = dataset.train, dataset.validation, dataset.test
    assert [part.shape for part in parts] == [(14, 4), (2, 4), (4, 4)]
    assert dataset.spec.num_tokens == 4
    assert {*dataset.vocabulary.symbols[2:]} == {"line", "number"}
    for part in parts:
        np.testing.assert_array_equal(lengths(part), 4)
        assert np.all(stays_ended(part))
    assert dataset.unknown_shares == {"train": 0.25, "validation": 0.25, "test": 0.25}


def test_only_training_sentences_are_counted(lines):
    """With min_count 1 every word of them is known, and those of other splits are not."""
    with pytest.raises(InputError, match=r"the word 'w\d+' was never seen in training"):
        load_text(TextConfig(str(lines), min_count=1))


def test_one_seed_is_one_split(lines):
    first, again, other = (
        load_text(TextConfig(str(lines), "byte", seed=seed)) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first.test, again.test)
    assert first.vocabulary.sentences(first.test) != other.vocabulary.sentences(other.test)


def test_long_sentences_are_cut(lines):
    dataset = load_text(TextConfig(str(lines), max_length=2))
    assert dataset.spec.length == 2
    np.testing.assert_array_equal(lengths(dataset.train), 2)


def test_a_folder_is_read_in_the_order_of_its_names(tmp_path):
    (tmp_path / "b.txt").write_text("third\n")
    (tmp_path / "a.txt").write_text("first\nsecond\x85still second\n")
    (tmp_path / "c.md").write_text("not read\n")
    assert read_sentences(str(tmp_path)) == ["first", "second\x85still second", "third"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"corpus.txt: the file is empty"),
        (b" \n" * 600, r"the file is empty, or blank: expected a sentence a line"),
        (b"<!DOCTYPE html>\n<p>not found</p>\n" * 20, r"corpus.txt: an HTML page, not data"),
        (b"\xef\xbb\xbf\n<HTML>\n<p>not found</p>\n" * 20, r"an HTML page, not data"),
        (b"only one\n", "holds a single line"),
        (b"one\ntwo\n", "holds 2 sentences: expected at least 10 to split"),
        (b"caf\xe9\n", "byte 3 is not UTF-8"),
    ],
)
def test_what_cannot_be_read_is_one_line(tmp_path, content, message):
    path = tmp_path / "corpus.txt"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as error:
        load_text(TextConfig(str(path)))
    assert "\n" not in str(error.value)


def test_what_is_not_there_is_one_line(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="no corpus 'nothing': expected one of pydoc"):
        read_sentences("nothing")
    with pytest.raises(InputError, match=r"holds no \.txt file"):
        read_sentences(str(tmp_path))
    monkeypatch.setenv("VAE_JAX_DATA", "")
    monkeypatch.setattr("pooch.os_cache", lambda project: tmp_path / "cache")
    with pytest.raises(InputError, match=r"no tinyshakespeare\.txt in .*put that file into"):
        read_sentences("tinyshakespeare", str(tmp_path))
    (tmp_path / "sentence_polarity.zip").write_bytes(b"no archive")
    with pytest.raises(InputError, match=r"polarity\.zip: truncated or damaged"):
        read_sentences("sentence_polarity", str(tmp_path))


def test_a_text_larger_than_allowed_is_one_line(lines, monkeypatch):
    monkeypatch.setattr(formats, "MAX_BYTES", lines.stat().st_size)
    assert len(read_sentences(str(lines))) == 20
    monkeypatch.setattr(formats, "MAX_BYTES", 100)
    with pytest.raises(InputError, match=r"lines\.txt: holds more than the 100 bytes allowed"):
        read_sentences(str(lines))


NEGATIVE, POSITIVE = (f"sentence_polarity/rt-polarity.{part}" for part in ("neg", "pos"))
REVIEWS = {NEGATIVE: "dull\n", POSITIVE: "fun"}


def zipped(path, members, compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def refusal_of_reviews(folder):
    with pytest.raises(InputError) as error:
        read_sentences("sentence_polarity", str(folder))
    assert "\n" not in str(error.value)
    return str(error.value).removeprefix(f"{folder / 'sentence_polarity.zip'}")


def test_an_archive_of_reviews_is_read_or_refused(tmp_path, monkeypatch):
    path = tmp_path / "sentence_polarity.zip"
    zipped(path, REVIEWS)
    assert read_sentences("sentence_polarity", str(tmp_path)) == ["dull", "fun"]
    monkeypatch.setattr(formats, "MAX_BYTES", 7)
    assert refusal_of_reviews(tmp_path) == ": declares 8 bytes, more than the 7 allowed"
    monkeypatch.undo()
    zipped(path, REVIEWS, zipfile.ZIP_BZIP2)
    assert "compressed by method 12 of zip" in refusal_of_reviews(tmp_path)
    zipped(path, {NEGATIVE: "dull\n"})
    assert refusal_of_reviews(tmp_path) == f": lacks {POSITIVE}: is it the right file?"


def test_a_damaged_archive_of_reviews_is_one_line(tmp_path):
    path = tmp_path / "sentence_polarity.zip"
    zipped(path, dict.fromkeys(REVIEWS, "a dull and boring film\n" * 40))
    content = bytearray(path.read_bytes())
    start = content.index(b"rt-polarity.neg") + len(b"rt-polarity.neg")
    content[start] ^= 6  # the type of the first deflated block: one that does not exist
    path.write_bytes(content)
    assert refusal_of_reviews(tmp_path).startswith(": truncated or damaged")
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1  # encrypted
    path.write_bytes(content)
    assert refusal_of_reviews(tmp_path).startswith(": cannot be read")


def test_configs_name_the_field():
    with pytest.raises(ConfigError, match="name is ''"):
        TextConfig("")
    with pytest.raises(ConfigError, match="min_count is 0"):
        TextConfig(min_count=0)


def test_the_named_corpora(data_dir):
    reviews = load_text(TextConfig("sentence_polarity", data_dir=str(data_dir)))
    num = sum(len(part) for part in (reviews.train, reviews.validation, reviews.test))
    assert num == 10_662
    assert 8_000 < reviews.spec.num_tokens < 9_500
    assert 0.05 < reviews.unknown_shares["test"] < 0.12
    assert UNKNOWN in reviews.test
    plays = load_text(TextConfig("tinyshakespeare", "character", data_dir=str(data_dir)))
    assert plays.spec.num_tokens == 65
