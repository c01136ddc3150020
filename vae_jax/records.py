"""Configs and results as JSON and back, and files that are written whole or not at all."""

import dataclasses
import enum
import errno
import hashlib
import json
import math
import os
import re
import tempfile
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from bayes_jax.errors import InputError

_TEMPORARY = re.compile(r"\..+\.[a-z]+\.[a-z0-9_]{8}")  # .report.html.x1y2z3w4, of `_write_beside`


def to_plain(value: Any) -> Any:
    """Anything a config or a result holds as what JSON can hold.

    Arrays and tuples become lists, dataclasses and named tuples dicts, enums their names in lower
    case, NaN and infinity None.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: to_plain(getattr(value, field.name)) for field in dataclasses.fields(value)
        }
    if isinstance(value, dict):
        return {str(key): to_plain(item) for key, item in value.items()}
    if hasattr(value, "_asdict"):
        return to_plain(value._asdict())
    if isinstance(value, enum.Enum):
        return value.name.lower()
    if isinstance(value, list | tuple | set | frozenset):
        return [to_plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):
        return to_plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def from_dict(config_type: type, values: Any, *, name: str = "config") -> Any:
    """Make a config from the dict `to_plain` gave; its own validation runs again.

    Args:
        config_type: a frozen dataclass of `vae_jax.configs`.
        values: what was read: a dict field -> value with every field there.
        name: what to call it in errors.

    Raises:
        InputError: unknown or missing fields, values of another type or out of range.
    """
    fields = [field.name for field in dataclasses.fields(config_type)]
    if not isinstance(values, dict):
        raise InputError(f"{name} is {values!r}: expected the fields {', '.join(fields)}")
    for field in sorted({*values} ^ {*fields}):
        kind = "unknown" if field in values else "missing"
        raise InputError(f"{name}.{field} is {kind}: expected the fields {', '.join(fields)}")
    hints = typing.get_type_hints(config_type)
    restored = {
        field: _restore(hints[field], value, f"{name}.{field}") for field, value in values.items()
    }
    try:
        return config_type(**restored)
    except ValueError as error:
        raise InputError(f"{name}.{error}") from error


def config_hash(config: Any) -> str:
    """Eight hex digits that tell one config from another."""
    content = json.dumps(to_plain(config), sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:8]


def differences(left: Any, right: Any, name: str = "") -> dict[str, tuple]:
    """Where two contents of JSON differ.

    Args:
        left: one.
        right: the other.
        name: of both, before the names of their fields.

    Returns:
        Dotted field -> its two values.
    """
    if isinstance(left, dict) and isinstance(right, dict):
        pairs = {key: (left.get(key), right.get(key)) for key in sorted({*left, *right}, key=str)}
        return {
            field: values
            for key, (ours, theirs) in pairs.items()
            for field, values in differences(ours, theirs, f"{name}.{key}".lstrip(".")).items()
        }
    return {} if left == right else {name: (left, right)}


def summary(different: dict[str, tuple], *, num_shown: int = 3) -> str:
    """`differences` in one line, "there" the left side and "here" the right one.

    Args:
        different: at least one.
        num_shown: how many are spelled out.
    """
    parts = [
        f"{field} is {there!r} there, {here!r} here" for field, (there, here) in different.items()
    ]
    more = len(parts) - num_shown
    return "; ".join(parts[:num_shown]) + (f"; and {more} more" if more > 0 else "")


def to_json(content: Any) -> bytes:
    """Readable JSON; `to_plain` says what becomes of arrays, enums and NaN."""
    text = json.dumps(to_plain(content), indent=2, ensure_ascii=False, allow_nan=False)
    return (text + "\n").encode()


def write_json(path: str | Path, content: Any) -> None:
    """Write `to_json(content)` atomically."""
    write_bytes(path, to_json(content))


def write_bytes(path: str | Path, content: bytes) -> None:
    """Write a file atomically, making its folder: the old content or the new, never a half."""
    path = Path(path)
    write_files(path.parent, {path.name: content})


def write_files(folder: str | Path, files: Mapping[str, bytes]) -> None:
    """Write files that belong together, each atomically, and none before all are on the disk.

    Args:
        folder: made if need be.
        files: a name, which may have folders in it -> the content.

    Raises:
        OSError: no room or no permission; then every file is as it was.
    """
    folder = Path(folder)
    written: dict[Path, Path] = {}
    try:
        for name, content in files.items():
            path = folder / name
            written[path] = _write_beside(path, content)
        for path, temporary in written.items():
            os.replace(temporary, path)
    finally:
        for temporary in written.values():
            temporary.unlink(missing_ok=True)
    for parent in {path.parent for path in written}:
        sync(parent)


def sweep(folder: str | Path) -> None:
    """Tidy up after writers that were killed; not while another one writes.

    Args:
        folder: with those below it.
    """
    for path in [*Path(folder).rglob(".*")]:
        if _TEMPORARY.fullmatch(path.name) and path.is_file():
            path.unlink()


def make_folder(path: str | Path) -> None:
    """Make a folder and those above it where they are absent, on the disk when this returns."""
    path = Path(path)
    absent = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for folder in absent:
        sync(folder.parent)


def sync(path: Path) -> None:
    """Make sure that a file or the entries of a folder are on the disk when this returns."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def append_line(path: str | Path, line: str) -> None:
    """Add a line to a file, whole or not at all.

    Raises:
        OSError: no room or no permission.
    """
    content = line.encode() + b"\n"
    with Path(path).open("ab", buffering=0) as file:
        before = file.tell()
        if file.write(content) < len(content):  # a disk takes what it has room for
            file.truncate(before)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def _write_beside(path: Path, content: bytes) -> Path:
    """A temporary file with this content in the same folder, on the disk."""
    make_folder(path.parent)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            os.fchmod(handle, 0o644)  # mkstemp makes files that only their owner reads
            file.write(content)
            file.flush()
            os.fsync(handle)
    except BaseException as error:
        Path(temporary).unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
    return Path(temporary)


def _restore(hint: Any, value: Any, name: str) -> Any:
    """A value read from JSON as the type its field declares."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal and value in arguments:
        return value
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        (inner,) = [argument for argument in arguments if argument is not type(None)]
        return _restore(inner, value, name)
    if origin is tuple and isinstance(value, list):
        return tuple(_restore(arguments[0], item, name) for item in value)
    if dataclasses.is_dataclass(hint):
        return from_dict(hint, value, name=name)
    if hint is float and type(value) is int:
        return float(value)
    if isinstance(hint, type) and origin is None and type(value) is hint:
        return value
    raise InputError(f"{name} is {value!r}: expected {getattr(hint, '__name__', hint)}")
