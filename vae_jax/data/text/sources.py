"""Sentences by the name of a corpus, or from files of one's own."""

from collections.abc import Callable
from pathlib import Path

from bayes_jax.errors import InputError
from vae_jax.data.formats import opened, read_members, read_whole
from vae_jax.data.sources import find, search_folders
from vae_jax.data.text.prose import pydoc_sentences
from vae_jax.data.text.synthetic import grammar_sentences

_POLARITY_PARTS = ("rt-polarity.neg", "rt-polarity.pos")


def read_sentences(name: str, data_dir: str | None = None) -> list[str]:
    """The sentences of a corpus, in its order.

    Args:
        name: a key of `NAMED`, or the path of a UTF-8 file with a sentence a line, or of a folder,
            whose .txt files are read in the order of their names. Empty lines are left out.
        data_dir: the folder to look for named corpora in, first.

    Returns:
        At least two sentences, without white space around them.

    Raises:
        InputError: an unknown name, a file that is missing, empty, no text or a single line.
    """
    if name in NAMED:
        sentences = NAMED[name](data_dir)
    elif Path(name).is_dir():
        sentences = _read_folder(Path(name))
    elif Path(name).is_file():
        sentences = read_lines(Path(name))
    else:
        raise InputError(
            f"no corpus {name!r}: expected one of {', '.join(NAMED)}, or the path of a text file "
            "or of a folder of .txt files"
        )
    if len(sentences) < 2:
        raise InputError(
            f"{name} holds a single line: expected a sentence a line, some for training and some "
            "to be tested on"
        )
    return sentences


def read_lines(path: Path) -> list[str]:
    """The lines of a UTF-8 file that are not empty.

    Raises:
        InputError: a file without any, of other characters, too large, or an HTML page.
    """
    with opened(path) as stream:
        return _lines(read_whole(stream, path), str(path))


def _read_folder(folder: Path) -> list[str]:
    paths = sorted(folder.glob("*.txt"))
    if not paths:
        raise InputError(f"{folder} holds no .txt file: expected text with a sentence a line")
    return [line for path in paths for line in read_lines(path)]


def _lines(content: bytearray, name: str) -> list[str]:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{name}: byte {error.start} is not UTF-8: expected text, saved as UTF-8"
        ) from error
    # Not splitlines, for which some letters of older encodings end a line.
    lines = [line.strip() for line in text.replace("\r", "\n").split("\n")]
    if not any(lines):
        raise InputError(f"{name}: the file is empty, or blank: expected a sentence a line")
    return [line for line in lines if line]


def _read_pydoc(data_dir: str | None) -> list[str]:
    del data_dir  # It comes with Python.
    return list(pydoc_sentences())


def _read_grammar(data_dir: str | None) -> list[str]:
    del data_dir  # It is made.
    return list(grammar_sentences())


def _read_sentence_polarity(data_dir: str | None) -> list[str]:
    path = _path("sentence_polarity.zip", data_dir)
    contents = read_members(path, [f"sentence_polarity/{part}" for part in _POLARITY_PARTS])
    return [line for content in contents for line in _lines(content, str(path))]


def _read_tinyshakespeare(data_dir: str | None) -> list[str]:
    return read_lines(_path("tinyshakespeare.txt", data_dir))


def _path(file_name: str, data_dir: str | None) -> Path:
    path = find("text", file_name, data_dir)
    if path is None:
        folders = search_folders(data_dir)
        raise InputError(
            f"no {file_name} in {', '.join(map(str, folders))}: put that file into "
            f"{folders[0] / 'text'}, or name its folder by data_dir"
        )
    return path


NAMED: dict[str, Callable[[str | None], list[str]]] = {
    "pydoc": _read_pydoc,
    "grammar": _read_grammar,
    "sentence_polarity": _read_sentence_polarity,
    "tinyshakespeare": _read_tinyshakespeare,
}
"""name -> reader, given the data_dir."""
