"""The folder of an inference that is under way: what it belongs to, and results that are finished.

folder/config.json            what all of it belongs to, and the versions it began with
folder/PLACE/result/0/        a result that is finished, as a checkpoint
folder/PLACE/.../state/       one that is under way (see `work`)
"""

import contextlib
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import jax.numpy as jnp

from bayes_jax.errors import InputError
from vae_jax import checkpoints, runs
from vae_jax.interruption import Interrupted, deferred
from vae_jax.records import to_plain
from vae_jax.resumption.outlines import pack, unpack

SECONDS_BETWEEN_SAVES = 20.0
"""A killed inference loses at most this much work, and a chunk."""

GOES_ON = "the same command goes on from there (--overwrite begins anew)"

_RESULT, _STATE = "result", "state"
T = TypeVar("T")


@dataclass(frozen=True)
class Store:
    """A place for unfinished work, and how it is kept.

    Attributes:
        root: the folder that `config.json` lies in.
        content: what all that lies there belongs to, as JSON can hold it.
        place: of the work, below the root.
        seconds_between: saves are at least so far apart.
        asked_to_stop: gives the number of a signal that came, or None; if None, each piece of work
            looks out for signals by itself.
        note: called with one line about how far the work is.
        warn: called with one line about what is damaged.
        keeps: False where nothing is to be kept, as beside other processes.
    """

    root: Path
    content: dict = field(default_factory=dict)
    place: str = ""
    seconds_between: float = SECONDS_BETWEEN_SAVES
    asked_to_stop: Callable[[], int | None] | None = None
    note: Callable[[str], None] = lambda line: None
    warn: Callable[[str], None] = lambda line: None
    keeps: bool = True

    @property
    def folder(self) -> Path:
        """Where the work lies."""
        return self.root / self.place

    def at(self, name: str) -> "Store":
        """A place below this one, under a name that is made one of a folder."""
        name = re.sub("[^a-z0-9_]+", "-", name.lower()).strip("-")
        return replace(self, place=f"{self.place}/{name}".lstrip("/"))

    @contextlib.contextmanager
    def listening(self) -> Iterator["Store"]:
        """This store while SIGINT and SIGTERM are noted, to be acted on when something is saved."""
        if not self.keeps:
            yield self
            return
        with deferred() as asked_to_stop:
            yield replace(self, asked_to_stop=asked_to_stop)

    def save(self, part: str, step: int, leaves: list, about: dict, *, keep: int | None) -> None:
        """Write one checkpoint of this place.

        Args:
            part: of the place.
            step: its number.
            leaves: a flat list of arrays.
            about: as JSON can hold it.
            keep: the newest so many stay; None keeps all.

        Raises:
            InputError: the root belongs to something else.
        """
        is_new = not self.root.is_dir()
        try:
            runs.create(self.root, self.content)
            checkpoints.save(self.folder / part, step, leaves, keep=keep, about=about)
        except OSError:
            if is_new:  # nothing was kept, so that nothing is to be gone on with
                self.clear()
            raise

    def once(self, name: str, compute: Callable[["Store"], T]) -> T:
        """The result of a computation, which is done if it was not before.

        Args:
            name: of a place below this one, for its result and for what is left of it half done.
            compute: takes that place; gives NamedTuples of arrays of this project.

        Raises:
            Interrupted: a signal came; the result is saved.
        """
        inner = self.at(name)
        if not self.keeps:
            return compute(inner)
        found = inner._finished()
        if found is not None:
            return unpack(*found)
        result = compute(inner)
        outline, arrays = pack(result)
        inner.save(_RESULT, 0, [jnp.int32(len(arrays)), *arrays], {"outline": outline}, keep=1)
        inner._tidy()
        if self.asked_to_stop and (number := self.asked_to_stop()):
            raise Interrupted(number, f"{inner.place} is saved, {GOES_ON}")
        return result

    def seconds_spent(self) -> float:
        """What work of this place took in earlier calls, as far as it counts: compilation apart."""
        return sum((_seconds(folder) for folder in self.folder.rglob(_STATE)), 0.0)

    def clear(self) -> None:
        """Delete the folder: all of it is finished."""
        if self.keeps:
            _remove(self.root)

    def _finished(self):
        """Outline and arrays of the result, if it is there and intact."""
        folder = self.folder / _RESULT
        if not folder.is_dir():
            return None
        checkpoints.sweep(folder)
        try:
            (_, *arrays), about = checkpoints.recall(folder, 0)
        except InputError as error:
            self.warn(f"{error}; it is done again")
            return None
        return about["outline"], arrays

    def _tidy(self) -> None:
        """Delete what the result was made of."""
        for path in self.folder.iterdir():
            if path.name != _RESULT:
                shutil.rmtree(path)


def open_store(root: str | Path, content: Any, *, overwrite: bool = False, **options) -> Store:
    """A store for what belongs to `content`; nothing is written before there is something to save.

    Args:
        root: a folder: new, or of an earlier call with the same content.
        content: what the inference is made from: a config, or a dict of them.
        overwrite: forget what is there.
        options: of `Store`.

    Raises:
        InputError: the folder belongs to something else (which says what differs).
    """
    store = Store(Path(root).absolute(), to_plain(content), **options)
    if store.keeps:
        shutil.rmtree(_gone(store.root), ignore_errors=True)
        runs.check(store.root, store.content, overwrite=overwrite)
        if overwrite:
            _remove(store.root)
    return store


def _remove(root: Path) -> None:
    """Under another name first: a folder that is half deleted must not look like anybody's."""
    with contextlib.suppress(FileNotFoundError):
        root.rename(_gone(root))
    shutil.rmtree(_gone(root), ignore_errors=True)


def _gone(root: Path) -> Path:
    return root.with_name(f".{root.name}-gone")


def _seconds(folder: Path) -> float:
    step = checkpoints.find(folder).step
    return 0.0 if step is None else checkpoints.recall_about(folder, step).get("seconds", 0.0)
