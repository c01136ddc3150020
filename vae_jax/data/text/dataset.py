"""A corpus as a model sees it: three splits of rows of tokens, and what the tokens stand for."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Int32

from bayes_jax.errors import InputError
from bayes_jax.sequences import lengths
from vae_jax.configs.text import TextConfig, TextSpec
from vae_jax.data.arrays import split_indices
from vae_jax.data.text.sources import read_sentences
from vae_jax.data.text.vocabulary import UNKNOWN, Vocabulary, fit_vocabulary

MIN_SENTENCES = 10


class TextDataset(NamedTuple):
    """Three splits of one corpus, rows as `bayes_jax.sequences` has them.

    Attributes:
        name: as asked for.
        train: `[num, length]`, padded with the end token.
        validation: the same.
        test: the same.
        vocabulary: fitted on the training sentences alone.
        spec: what systems need to know.
        observe: None, for training sees the rows as they are stored.
    """

    name: str
    train: Int32[np.ndarray, "num length"]
    validation: Int32[np.ndarray, "num length"]
    test: Int32[np.ndarray, "num length"]
    vocabulary: Vocabulary
    spec: TextSpec
    observe: Callable | None = None

    @property
    def unknown_shares(self) -> dict[str, float]:
        """Split -> the share of its tokens that are `<unk>`; 0 where the vocabulary has none."""
        return {split: self._unknown_share(getattr(self, split)) for split in _SPLITS}

    def _unknown_share(self, rows) -> float:
        unknown = self.vocabulary.has_unknown * np.sum(rows == UNKNOWN)
        return float(unknown / lengths(rows).sum())


_SPLITS = ("train", "validation", "test")


def load_text(
    config: TextConfig, *, vocabulary: Vocabulary | None = None, length: int | None = None
) -> TextDataset:
    """Load a corpus, split it 70/10/20, and number what its training sentences hold.

    Args:
        config: which sentences, cut into which tokens.
        vocabulary: of another corpus, where these sentences shall be seen as those are.
        length: of a row; as the config says if None.

    Returns:
        Three disjoint splits of rows of one length.

    Raises:
        InputError: a corpus that cannot be read or is too small to split, or, where min_count is 1,
            a sentence with a token that training never saw.
    """
    sentences = read_sentences(config.name, config.data_dir)
    if len(sentences) < MIN_SENTENCES:
        raise InputError(
            f"{config.name} holds {len(sentences)} sentences: expected at least {MIN_SENTENCES} "
            "to split"
        )
    parts = [
        [sentences[index] for index in indices]
        for indices in split_indices(len(sentences), seed=config.seed)
    ]
    vocabulary = vocabulary or fit_vocabulary(
        parts[0], unit=config.unit, min_count=config.min_count
    )
    length = length or _row_length(vocabulary, sentences, config)
    rows = [vocabulary.rows(part, length=length) for part in parts]
    return TextDataset(config.name, *rows, vocabulary, TextSpec(len(vocabulary), length))


def _row_length(vocabulary: Vocabulary, sentences: list[str], config: TextConfig) -> int:
    longest = max(len(vocabulary.encode(sentence)) for sentence in sentences)
    return min(longest, config.max_length or longest)
