"""Which text, and as what tokens."""

from dataclasses import dataclass
from typing import Literal

from vae_jax.configs.checks import check, check_name

TokenUnit = Literal["byte", "character", "word"]


@dataclass(frozen=True)
class TextConfig:
    """Which sentences, cut into which tokens.

    Attributes:
        name: pydoc (English that comes with Python), grammar (draws of a small English of known
            entropy), sentence_polarity, tinyshakespeare, or the path of a UTF-8 file with a
            sentence a line, or of a folder of .txt files.
        unit: byte, character or word (what white space separates).
        min_count: how often a character or word must stand in the training sentences; rarer ones
            become `<unk>`. With 1 there is no `<unk>`, and one never seen is refused.
        max_length: most tokens of a row, its end token counted; longer sentences are cut. As long
            as the longest sentence if unset.
        data_dir: folder of the data sets; what it lacks is in VAE_JAX_DATA, or a cache.
        seed: of the 70/10/20 split.
    """

    name: str = "pydoc"
    unit: TokenUnit = "word"
    min_count: int = 2
    max_length: int | None = None
    data_dir: str | None = None
    seed: int = 0

    def __post_init__(self):
        check(bool(self.name), "name", self.name, "a data set or a path")
        check_name(self.unit, TokenUnit, "unit")
        check(self.min_count >= 1, "min_count", self.min_count, "at least 1")
        check(
            self.max_length is None or self.max_length >= 1,
            "max_length",
            self.max_length,
            "at least 1",
        )
        check(self.seed >= 0, "seed", self.seed, "at least 0")


@dataclass(frozen=True)
class TextSpec:
    """What a system must know about one row of tokens.

    Attributes:
        num_tokens: of the vocabulary, the end token counted.
        length: of a row; x has shape `[length]`.
    """

    num_tokens: int
    length: int

    def __post_init__(self):
        check(self.num_tokens >= 2, "num_tokens", self.num_tokens, "at least 2")
        check(self.length >= 1, "length", self.length, "at least 1")

    @property
    def event_shape(self) -> tuple[int]:
        """Of one x."""
        return (self.length,)
