"""A computation in chunks, whose state is saved between them at most every so many seconds.

    folder/state/<chunk>/    all that the next chunk needs, after so many of them
    folder/kept/<chunk>/     what the chunks up to this one keep, since the folder before it

What is kept is written once, however much there is of it; of the states the newest two stay. A
state is written after what was kept up to it, so that there is never one with something missing.
"""

import contextlib
import shutil
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from bayes_jax.errors import InputError
from vae_jax import checkpoints
from vae_jax.interruption import Interrupted, deferred
from vae_jax.records import differences, summary
from vae_jax.resumption.leaves import abstract, plain, rebuilt
from vae_jax.resumption.stores import GOES_ON, Store
from vae_jax.timing import timed

_STATE, _KEPT = "state", "kept"


class Work(NamedTuple):
    """What is to be done.

    Attributes:
        belongs: what the numbers depend on, as JSON can hold it; a state of other work is refused.
        begin: `() -> state`, a pytree of arrays and keys.
        advance: `(state, chunk) -> (state, kept)`, the chunks counted from 0.
        num_chunks: how many there are.
        kept: a tree of the structure that `advance` keeps of each chunk, whatever its leaves.
    """

    belongs: dict
    begin: Callable[[], PyTree]
    advance: Callable[[PyTree, int], tuple[PyTree, PyTree]]
    num_chunks: int
    kept: PyTree = ()


class Progress(NamedTuple):
    """How far it is.

    Attributes:
        num_done: chunks.
        state: what the next one needs.
        kept: of each chunk so far.
        seconds: that they took, compilation apart.
    """

    num_done: int
    state: PyTree
    kept: list
    seconds: float


def carry_out(store: Store, work: Work) -> tuple[PyTree, list]:
    """Do what is left of a piece of work.

    Args:
        store: where it is saved, and where an earlier call may have left it half done.
        work: to do.

    Returns:
        The last state; what each chunk kept.

    Raises:
        InputError: the place holds other work (which says what differs).
        Interrupted: a signal came; the chunk it came in is saved.
    """
    here = store.asked_to_stop
    with deferred() if here is None else contextlib.nullcontext(here) as asked_to_stop:
        progress = _recovered(store, work) or _begun(store, work)
        num_saved, last_saved = progress.num_done, time.monotonic()
        while progress.num_done < work.num_chunks:
            progress = _advanced(work, progress)
            store.note(f"{progress.num_done}/{work.num_chunks} of {store.place}")
            number = asked_to_stop()
            if number or time.monotonic() - last_saved >= store.seconds_between:
                _save(store, work, progress, since=num_saved)
                num_saved, last_saved = progress.num_done, time.monotonic()
            if number:
                raise Interrupted(number, _where(store, work, progress))
        return progress.state, progress.kept


def _begun(store: Store, work: Work) -> Progress:
    for part in (_STATE, _KEPT):
        shutil.rmtree(store.folder / part, ignore_errors=True)
    state = work.begin()
    return Progress(0, rebuilt(state, plain(state)), [], 0.0)


def _advanced(work: Work, progress: Progress) -> Progress:
    done = timed(partial(work.advance, progress.state, progress.num_done))
    state, kept = done.result
    return Progress(
        progress.num_done + 1, state, [*progress.kept, kept], progress.seconds + done.seconds
    )


def _save(store: Store, work: Work, progress: Progress, *, since: int) -> None:
    about = {"belongs": work.belongs, "since": since, "seconds": progress.seconds}
    step = progress.num_done
    if jax.tree.leaves(work.kept):
        store.save(_KEPT, step, plain(progress.kept[since:]), about, keep=None)
    state = [jnp.int32(step), *plain(progress.state)]
    store.save(_STATE, step, state, about, keep=2)


def _recovered(store: Store, work: Work) -> Progress | None:
    """Where an earlier call stopped; None where there is nothing to go on with."""
    folder = store.folder / _STATE
    for part in (_STATE, _KEPT):
        checkpoints.sweep(store.folder / part)
    step, damaged = checkpoints.find(folder)
    for line in damaged.values():
        store.warn(line)
    if step is None:
        return None
    about = checkpoints.recall_about(folder, step)
    _refuse_other_work(store, about["belongs"], work.belongs)
    like = jax.eval_shape(work.begin)
    expected = [jax.ShapeDtypeStruct((), jnp.int32), *abstract(like)]
    _, *leaves = checkpoints.restore(folder, expected, step=step)
    try:
        kept = _kept_until(store, work, step)
    except InputError as error:
        store.warn(f"{error}; it begins anew")
        return None
    return Progress(step, rebuilt(like, leaves), kept, about["seconds"])


def _kept_until(store: Store, work: Work, step: int) -> list:
    """What each chunk up to this one kept."""
    structure, folder = jax.tree.structure(work.kept), store.folder / _KEPT
    if structure.num_leaves == 0:
        return [work.kept] * step
    checkpoints.delete_after(folder, step)
    kept: list[Any] = []
    for each in checkpoints.steps(folder):
        leaves, about = checkpoints.recall(folder, each)
        if about["since"] != len(kept):
            raise InputError(f"{folder} lacks chunk {len(kept) + 1}")
        size = structure.num_leaves
        parts = [leaves[first : first + size] for first in range(0, len(leaves), size)]
        kept += [jax.tree.unflatten(structure, part) for part in parts]
    if len(kept) != step:
        raise InputError(f"{folder} holds {len(kept)} chunks: expected {step}")
    return kept


def _refuse_other_work(store: Store, there: dict, here: dict) -> None:
    if different := differences(there, here):
        raise InputError(
            f"{store.folder} holds other work ({summary(different)}): choose another output "
            "folder, or --overwrite to begin anew"
        )


def _where(store: Store, work: Work, progress: Progress) -> str:
    place = f" of {store.place}" if store.place else ""
    return f"chunk {progress.num_done} of {work.num_chunks}{place} is saved, {GOES_ON}"
