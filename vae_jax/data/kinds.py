"""The kinds of data: how each is loaded, and what a run remembers of it in its config.json."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bayes_jax.errors import InputError
from vae_jax.configs import DataConfig, ObservationSpec, TextConfig, TextSpec
from vae_jax.data import arrays
from vae_jax.data.dataset import Dataset
from vae_jax.data.text import TextDataset, Vocabulary, load_text


@dataclass(frozen=True)
class Images:
    """Images that a run saw.

    Attributes:
        spec: the observation the system was built for.
        shape: (height, width).
        num_levels: grey levels of the source.
        sha256: of the three splits, so that a run is never judged on images it was trained on.
        num_train: training images, for each of which some systems keep a state.
    """

    spec: ObservationSpec
    shape: tuple[int, ...]
    num_levels: int
    sha256: str
    num_train: int = 2


@dataclass(frozen=True)
class Corpus:
    """Text that a run saw.

    Attributes:
        spec: the rows of tokens the system was built for.
        vocabulary: what the tokens stand for.
        sha256: of the three splits, as `Images` have it.
        num_train: training sentences.
    """

    spec: TextSpec
    vocabulary: Vocabulary
    sha256: str
    num_train: int


Record = Images | Corpus


class Kind(NamedTuple):
    """One kind of data.

    Attributes:
        name: of the record in config.json.
        noun: what the examples are called.
        record: its class.
        load: `config -> data set`.
        load_like: `(config, record) -> data set`, seen as those of the record were.
        describe: `data set -> record`.
        scripts: those that take a run of it, the first ones first.
        of_its_own: what a config says of one data set alone, as others have it.
    """

    name: str
    noun: str
    record: type
    load: Callable
    load_like: Callable
    describe: Callable
    scripts: tuple[str, ...]
    of_its_own: dict[str, None]

    def check_script(self, script: str, folder: Path) -> None:
        """Refuse a script that takes no runs of this kind.

        Raises:
            InputError: naming the run, and what the script takes.
        """
        if script not in self.scripts:
            others = [kind.noun for kind in KINDS.values() if script in kind.scripts]
            raise InputError(
                f"{folder} is a run on {self.noun}: expected one on {' or '.join(others)}; "
                f"it can be given to {' and '.join(self.scripts)}"
            )


def kind_of(config: DataConfig | TextConfig) -> Kind:
    """The kind of data that a config asks for."""
    return KINDS[type(config)]


def _describe_images(dataset: Dataset) -> Images:
    return Images(
        dataset.spec,
        dataset.image_shape,
        dataset.num_levels,
        _sha256(dataset),
        len(dataset.train),
    )


def _images_like(config: DataConfig, images: Images) -> Dataset:
    dataset = arrays.load(config)
    if dataset.image_shape != images.shape:
        raise InputError(
            f"images of {config.name} are {_size(dataset.image_shape)} pixels, those of the run "
            f"are {_size(images.shape)}: expected the same size"
        )
    return dataset


def _describe_text(dataset: TextDataset) -> Corpus:
    return Corpus(dataset.spec, dataset.vocabulary, _sha256(dataset), len(dataset.train))


def _text_like(config: TextConfig, corpus: Corpus) -> TextDataset:
    return load_text(config, vocabulary=corpus.vocabulary, length=corpus.spec.length)


KINDS = {
    DataConfig: Kind(
        "images",
        "images",
        Images,
        arrays.load,
        _images_like,
        _describe_images,
        ("sample.py", "infer.py", "impute.py", "detect.py"),
        {"held_out_label": None},
    ),
    TextConfig: Kind(
        "text", "sentences", Corpus, load_text, _text_like, _describe_text, ("sample.py",), {}
    ),
}
"""class of a config -> its kind."""


def _sha256(dataset: Dataset | TextDataset) -> str:
    digest = hashlib.sha256()
    for split in (dataset.train, dataset.validation, dataset.test):
        digest.update(np.ascontiguousarray(split))
    return digest.hexdigest()[:16]


def _size(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
