"""Checkpoints: one folder per step, written by Orbax and guarded by a sha256 manifest.

    folder/<step>/state/...        what Orbax wrote
    folder/<step>/manifest.json    the digest of every file, the shape and dtype of every leaf, what
                                   the state belongs to, and a digest of all that

Orbax alone loads flipped bits as numbers, silently; here every byte is checked before it is read. A
checkpoint appears under its name only when it is complete and on the disk. One process writes, be
it one of several, and each reads by itself.
"""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from bayes_jax.errors import InputError
from vae_jax import state_files
from vae_jax.records import make_folder, sync

MANIFEST = "manifest.json"

_STATE = "state"  # the folder that Orbax wrote
_WRITING = ".writing-"  # begins the name of a folder that is not complete
_ADVICE = "an older step is used where there is one, else train again"


class Found(NamedTuple):
    """What of a folder can be used.

    Attributes:
        step: the newest intact checkpoint; None where there is none.
        damaged: newer steps -> what is wrong with them, one line each.
    """

    step: int | None
    damaged: dict[int, str]


class Recalled(NamedTuple):
    """A checkpoint read without knowing what is in it.

    Attributes:
        leaves: the arrays, in the order of the tree that was saved.
        about: what was said of them.
    """

    leaves: list[jax.Array]
    about: dict[str, Any]


def save(
    folder: str | Path,
    step: int,
    state: PyTree,
    *,
    keep: int | None = None,
    about: Mapping[str, Any] | None = None,
) -> Path:
    """Write a state as `folder/<step>`, whole or not at all; an older one of that step is replaced.

    Later steps are deleted: they are of a future that was given up, when a run went on from an
    earlier one.

    Args:
        folder: of the run's checkpoints; made if absent.
        step: its number, at least 0.
        state: a pytree of arrays (no typed PRNG keys: keys are folded from the step).
        keep: delete all but the newest so many steps afterwards; None keeps all.
        about: what else the manifest shall say: config, versions, device; as JSON can hold it.

    Returns:
        The folder of the checkpoint.

    Raises:
        InputError: a negative step, or an array of a dtype that JAX would shorten.
    """
    if step < 0:
        raise InputError(f"checkpoint step is {step}: expected at least 0")
    folder = Path(folder).absolute()
    make_folder(folder)
    target = folder / str(step)
    with tempfile.TemporaryDirectory(prefix=_WRITING, dir=folder) as scratch:
        written = Path(scratch) / "new"
        _write(written, state, dict(about or {}))
        _replace(target, written, Path(scratch) / target.name)  # where `sweep` finds it
        sync(folder)  # before the one that was replaced is deleted
    there = _steps(folder)
    kept = [each for each in there if each <= step][-keep if keep else None :]
    for each in {*there} - {*kept}:
        _delete(folder, each)
    return target


def restore(folder: str | Path, abstract_state: PyTree, *, step: int | None = None) -> PyTree:
    """Read a state back, bit by bit, after checking every file.

    Args:
        folder: of the run's checkpoints.
        abstract_state: a tree of the same structure with the shapes and dtypes that are expected:
            `jax.eval_shape` of what made the state, or such a state.
        step: which; None takes the newest intact one (`find` says what is wrong with others).

    Returns:
        The state, leaves uncommitted on the default device: functions compiled before run as is.

    Raises:
        InputError: no such checkpoint, a missing, truncated or altered file (named), or leaves of
            another shape or dtype than expected.
    """
    folder = Path(folder).absolute()
    if step is None:
        step, damaged = find(folder)
        if step is None and damaged:
            raise InputError(damaged[max(damaged)])
    if step is None or not (folder / str(step)).is_dir():
        wanted = "no checkpoint" if step is None else f"no checkpoint of step {step}"
        raise InputError(f"{folder} holds {wanted}: found steps {_steps(folder)}")
    checkpoint = folder / str(step)
    manifest = _checked_manifest(checkpoint)
    _check_leaves(checkpoint, manifest["leaves"], _describe(abstract_state))
    return state_files.read(checkpoint / _STATE, abstract_state)


def recall(folder: str | Path, step: int) -> Recalled:
    """Read a flat list of arrays back, bit by bit, as its own manifest describes it.

    Args:
        folder: of the checkpoints.
        step: which.

    Raises:
        InputError: no such checkpoint, or a missing, truncated or altered file (named).
    """
    checkpoint = Path(folder).absolute() / str(step)
    manifest = _checked_manifest(checkpoint)
    expected = [_expected(leaf) for leaf in manifest["leaves"].values()]
    return Recalled(state_files.read(checkpoint / _STATE, expected), manifest["about"])


def recall_about(folder: str | Path, step: int) -> dict[str, Any]:
    """What was said of a checkpoint when it was saved; errors as `recall`."""
    return _checked_manifest(Path(folder).absolute() / str(step))["about"]


def steps(folder: str | Path) -> list[int]:
    """Of all checkpoints on the disk now, intact or not, rising."""
    return _steps(Path(folder))


def delete_after(folder: str | Path, step: int) -> None:
    """Delete the checkpoints of a future that was given up.

    Args:
        folder: of the checkpoints.
        step: the last one that stays.
    """
    for each in _steps(Path(folder)):
        if each > step:
            _delete(Path(folder), each)


def find(folder: str | Path) -> Found:
    """Look for the newest checkpoint of which every byte is as it was written.

    Args:
        folder: of the run's checkpoints.
    """
    folder, damaged = Path(folder).absolute(), {}
    for step in reversed(_steps(folder)):
        try:
            _checked_manifest(folder / str(step))
        except InputError as error:
            damaged[step] = str(error)
        else:
            return Found(step, damaged)
    return Found(None, damaged)


def latest_step(folder: str | Path) -> int | None:
    """The highest step on the disk now, intact or not; None where there is no checkpoint."""
    return max(_steps(Path(folder)), default=None)


def sweep(folder: str | Path) -> None:
    """Tidy up after a process that was killed while it wrote; not while another one writes.

    What was half written is deleted. A checkpoint that was just being replaced by one of the same
    step is put back.

    Args:
        folder: of the run's checkpoints; may be absent.
    """
    folder = Path(folder).absolute()
    for scratch in folder.glob(f"{_WRITING}*"):
        for step in _steps(scratch):
            if not (folder / str(step)).exists():
                (scratch / str(step)).rename(folder / str(step))
        sync(folder)
        shutil.rmtree(scratch)


def _replace(target: Path, new: Path, old: Path) -> None:
    try:
        if target.exists():
            target.rename(old)
        new.rename(target)
    except BaseException:
        if old.exists() and not target.exists():
            old.rename(target)
        raise


def _delete(folder: Path, step: int) -> None:
    """Under another name first: a half deleted checkpoint must not look like a damaged one."""
    with tempfile.TemporaryDirectory(prefix=_WRITING, dir=folder) as scratch:
        (folder / str(step)).rename(Path(scratch) / "old")
        sync(folder)


def _steps(folder: Path) -> list[int]:
    if not folder.is_dir():
        return []
    return sorted(int(entry.name) for entry in folder.iterdir() if entry.name.isdecimal())


def _write(checkpoint: Path, state, about: dict) -> None:
    state = jax.tree_util.tree_map_with_path(_as_it_is, state)
    checkpoint.mkdir()
    state_files.write(checkpoint / _STATE, state)
    files = {name: _digest(checkpoint / name) for name in _files(checkpoint)}
    manifest = {"files": files, "leaves": _describe(state), "about": about}
    signed = manifest | {"sha256": _signature(manifest)}
    (checkpoint / MANIFEST).write_text(json.dumps(signed, indent=1))
    for path in [*checkpoint.rglob("*"), checkpoint]:
        sync(path)


def _as_it_is(path, leaf) -> jax.Array:
    array = jnp.asarray(leaf)
    if getattr(leaf, "dtype", array.dtype) != array.dtype:
        raise InputError(
            f"the state's {jax.tree_util.keystr(path)} is {leaf.dtype} and would be saved as "
            f"{array.dtype}: cast it, or set JAX_ENABLE_X64=1"
        )
    return array


def _checked_manifest(checkpoint: Path) -> dict[str, Any]:
    """The manifest of a checkpoint that is intact."""
    path = checkpoint / MANIFEST
    try:
        manifest = json.loads(path.read_text())
        is_intact = manifest.pop("sha256") == _signature(manifest)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} is missing or damaged: {_ADVICE}") from error
    if not is_intact:
        raise InputError(f"{path} is damaged (its own sha256 is another): {_ADVICE}")
    _check_files(checkpoint, manifest["files"])
    return manifest


def _signature(manifest: dict) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def _check_files(checkpoint: Path, digests: dict[str, str]) -> None:
    for name, digest in digests.items():
        path = checkpoint / name
        if Path(name).is_absolute() or ".." in Path(name).parts:
            manifest = checkpoint / MANIFEST
            raise InputError(f"{manifest} is damaged (it names {name!r}, outside of it): {_ADVICE}")
        try:
            found = _digest(path) if path.is_file() else None
        except OSError as error:
            raise InputError(f"{path} cannot be read ({error.strerror}): {_ADVICE}") from error
        if found is None:
            raise InputError(f"{path} is missing: {_ADVICE}")
        if found != digest:
            raise InputError(
                f"{path} is damaged (its sha256 is not that of the manifest): {_ADVICE}"
            )


def _check_leaves(checkpoint: Path, saved: dict[str, str], expected: dict[str, str]) -> None:
    for name in sorted(saved.keys() | expected.keys()):
        found, wanted = saved.get(name, "nothing"), expected.get(name, "nothing")
        if found != wanted:
            raise InputError(
                f"{checkpoint} holds {found} as {name}, expected {wanted}: the config differs from "
                "that of the run"
            )


def _describe(state) -> dict[str, str]:
    """Leaf path -> `float32[3,4]`."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(state)
    return {
        jax.tree_util.keystr(path): f"{leaf.dtype}{list(jnp.shape(leaf))}" for path, leaf in leaves
    }


def _expected(description: str) -> jax.ShapeDtypeStruct:
    """Of `float32[3,4]`."""
    dtype, _, shape = description.partition("[")
    return jax.ShapeDtypeStruct(json.loads(f"[{shape}"), jnp.dtype(dtype))


def _files(checkpoint: Path) -> list[str]:
    return sorted(
        path.relative_to(checkpoint).as_posix() for path in checkpoint.rglob("*") if path.is_file()
    )


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
