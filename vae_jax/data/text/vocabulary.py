"""Sentences as tokens and back: bytes, characters or words, numbered by how frequent they are."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from jaxtyping import Int32, Integer

from bayes_jax.errors import InputError
from bayes_jax.sequences import END
from vae_jax.configs.text import TokenUnit

END_SYMBOL, UNKNOWN_SYMBOL = "<end>", "<unk>"
UNKNOWN = 1
"""The token of all that is rare, where a vocabulary has one."""


class Cut(NamedTuple):
    """How a sentence comes apart and together again."""

    split: Callable[[str], Sequence[str]]
    join: Callable[[Iterable[str]], str]


def _bytes_of(sentence: str) -> str:
    return sentence.encode().decode("latin-1")


def _from_bytes(symbols: Iterable[str]) -> str:
    return "".join(symbols).encode("latin-1").decode(errors="replace")


CUTS: dict[TokenUnit, Cut] = {
    "byte": Cut(_bytes_of, _from_bytes),
    "character": Cut(list, "".join),
    "word": Cut(str.split, " ".join),
}
"""unit -> its cut; a byte is written as the character of the same number."""


@dataclass(frozen=True)
class Vocabulary:
    """The tokens of a corpus; plain enough for a run's config.json.

    Attributes:
        unit: byte, character or word.
        symbols: what each token stands for; the first is the end, the second `<unk>` if any.
    """

    unit: TokenUnit
    symbols: tuple[str, ...]

    def __len__(self) -> int:
        """How many tokens."""
        return len(self.symbols)

    @property
    def has_unknown(self) -> bool:
        """Whether what it lacks has a token."""
        return self.unit != "byte" and self.symbols[UNKNOWN] == UNKNOWN_SYMBOL

    @cached_property
    def _tokens(self) -> dict[str, int]:
        return {symbol: token for token, symbol in enumerate(self.symbols) if token != END}

    def encode(self, sentence: str) -> list[int]:
        """The tokens of one sentence, its end token last.

        Raises:
            InputError: a symbol that was never seen, where there is no `<unk>`.
        """
        symbols = CUTS[self.unit].split(sentence)
        if self.has_unknown:
            return [self._tokens.get(symbol, UNKNOWN) for symbol in symbols] + [END]
        if unseen := self.unseen(sentence):
            raise InputError(
                f"the {self.unit} {unseen[0]!r} was never seen in training: expected one of "
                f"{len(self) - 1}; with min_count 2 rare ones share the token {UNKNOWN_SYMBOL}"
            )
        return [self._tokens[symbol] for symbol in symbols] + [END]

    def unseen(self, sentence: str) -> list[str]:
        """The symbols of one sentence that have no token of their own."""
        return [symbol for symbol in CUTS[self.unit].split(sentence) if symbol not in self._tokens]

    def decode(self, tokens: Iterable[int]) -> str:
        """One sentence from its tokens, up to the first end token.

        Raises:
            InputError: a number that is no token.
        """
        symbols = []
        for token in tokens:
            if token == END:
                break
            if not 0 <= token < len(self):
                raise InputError(f"token {token}: expected 0 to {len(self) - 1}")
            symbols.append(self.symbols[token])
        return CUTS[self.unit].join(symbols)

    def rows(
        self, sentences: Sequence[str], *, length: int | None = None
    ) -> Int32[np.ndarray, "num length"]:
        """Sentences as rows of one length, padded with the end token, cut where they are longer.

        Args:
            sentences: one at least.
            length: of a row; that of the longest sentence if None.

        Raises:
            InputError: no sentences, or what `encode` refuses.
        """
        if not sentences:
            raise InputError("there are no sentences: expected at least 1")
        tokens = [self.encode(sentence) for sentence in sentences]
        length = length or max(map(len, tokens))
        rows = np.full((len(tokens), length), END, np.int32)
        for row, one in zip(rows, tokens, strict=True):
            row[: len(one)] = one[:length]
        return rows

    def sentences(self, rows: Integer[np.ndarray, "num length"]) -> list[str]:
        """Rows back as sentences."""
        return [self.decode(row) for row in np.asarray(rows).tolist()]


def fit_vocabulary(sentences: Iterable[str], *, unit: TokenUnit, min_count: int = 2) -> Vocabulary:
    """The symbols of some sentences, which should be those of training alone.

    Args:
        sentences: to count in.
        unit: byte (all 256 of them, whatever was seen), character or word.
        min_count: rarer symbols become `<unk>`; with 1 there is none.

    Returns:
        The vocabulary, most frequent symbols first, equals in the order of their characters.

    Raises:
        InputError: no symbol is that frequent.
    """
    if unit == "byte":
        return Vocabulary(unit, (END_SYMBOL, *map(chr, range(256))))
    counts = Counter(symbol for sentence in sentences for symbol in CUTS[unit].split(sentence))
    kept = [symbol for symbol, count in counts.items() if count >= min_count]
    kept = sorted({*kept} - {UNKNOWN_SYMBOL}, key=lambda symbol: (-counts[symbol], symbol))
    if not kept:
        raise InputError(
            f"no {unit} stands {min_count} times in the training sentences "
            f"({len(counts)} different ones): expected more text, or a lower min_count"
        )
    first = (END_SYMBOL,) if min_count == 1 else (END_SYMBOL, UNKNOWN_SYMBOL)
    return Vocabulary(unit, (*first, *kept))
