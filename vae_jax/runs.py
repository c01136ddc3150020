"""The run folder: what was asked for, with which versions, and what came out.

`config.json` (what makes the run, and the versions it began with), `checkpoints/`, `metrics.jsonl`,
`figures/`, `report.html`. Every file but the growing `metrics.jsonl` is written under a temporary
name and renamed, so that a reader sees the old content or the new one, never a half.
"""

import contextlib
import json
import shutil
from pathlib import Path
from typing import Any, NamedTuple

from bayes_jax.errors import InputError
from vae_jax.configs import DataConfig, TextConfig, TrainConfig
from vae_jax.provenance import PROJECT, git_hash, meta, results, versions
from vae_jax.records import (
    append_line,
    config_hash,
    differences,
    from_dict,
    make_folder,
    summary,
    sweep,
    sync,
    to_plain,
    write_bytes,
    write_json,
)
from vae_jax.systems import SYSTEMS

__all__ = [
    "CHECKPOINTS",
    "CONFIG",
    "FIGURES",
    "METRICS",
    "REPORT",
    "RunConfig",
    "append_metrics",
    "check",
    "config_hash",
    "count_epochs",
    "create",
    "from_dict",
    "git_hash",
    "meta",
    "read_config",
    "read_metrics",
    "read_run",
    "results",
    "rewind_metrics",
    "to_plain",
    "versions",
    "write_bytes",
    "write_json",
]

CONFIG, METRICS, REPORT = "config.json", "metrics.jsonl", "report.html"
CHECKPOINTS, FIGURES = "checkpoints", "figures"

_OWN_KEYS = ("project", "versions")  # of config.json; the others say what was asked for


class RunConfig(NamedTuple):
    """What makes a training run.

    Attributes:
        system: a key of `vae_jax.systems.SYSTEMS`.
        config: the config of that system.
        train: the config of the loop.
        data: the config of the data.
    """

    system: str
    config: Any
    train: TrainConfig
    data: DataConfig | TextConfig


def create(folder: str | Path, config: Any, *, overwrite: bool = False) -> Path:
    """Make a run folder, or go on in the one that was made for the same config.

    Args:
        folder: new, empty, or a run of ours.
        config: what makes the run: a `RunConfig`, a config, or a dict of configs.
        overwrite: replace a run of ours that had another config.

    Returns:
        The absolute path of the folder.

    Raises:
        InputError: the folder belongs to another run, or to something that is no run of ours.
    """
    folder = Path(folder).absolute()
    if check(folder, config, overwrite=overwrite):
        sweep(folder)
        return folder
    content = {"project": PROJECT, **to_plain(config), "versions": versions()}
    make_folder(folder)
    _clear(folder)
    write_json(folder / CONFIG, content)
    return folder


def check(folder: str | Path, config: Any, *, overwrite: bool = False) -> bool:
    """Whether the folder holds a run to go on with; writes nothing.

    Args:
        folder: as for `create`.
        config: as for `create`.
        overwrite: as for `create`; then there is never a run to go on with.

    Returns:
        True for a run that was made for the same config, False where `create` would begin one.

    Raises:
        InputError: as `create`.
    """
    folder = Path(folder).absolute()
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file: expected an output folder, choose another")
    if (folder.parent / CONFIG).is_file():
        raise InputError(f"{folder} lies inside the run {folder.parent}: choose another folder")
    if not folder.is_dir() or all(_is_leftover(path) for path in folder.iterdir()):
        return False
    existing = _read_existing(folder)
    if not overwrite:
        _check_same(existing, to_plain(config), folder)
    return not overwrite


def read_config(folder: str | Path) -> dict:
    """The content of a run's config.json.

    Raises:
        InputError: no such folder, no run of ours, or a damaged config.json.
    """
    folder = Path(folder)
    path = folder / CONFIG
    if not path.is_file():
        reason = f"it has no {CONFIG}" if folder.is_dir() else "no such folder"
        raise InputError(f"{folder} is no run folder ({reason}): expected the --out of train.py")
    try:
        content = json.loads(path.read_bytes())
    except ValueError as error:
        raise InputError(
            f"{path}: damaged JSON ({error}): remove that folder, or choose another"
        ) from error
    if not isinstance(content, dict) or content.get("project") != PROJECT:
        raise InputError(f"{path}: not written by {PROJECT}: expected the folder of a run")
    return content


def read_run(folder: str | Path) -> RunConfig:
    """The configs of a training run, as the objects they were.

    Raises:
        InputError: no run folder, unknown system, unknown or missing fields.
    """
    content = read_config(folder)
    system = content.get("system")
    if system not in [*SYSTEMS]:  # a list, which a damaged file may hold, has no hash
        raise InputError(
            f"{Path(folder) / CONFIG}: system is {system!r}, expected one of {', '.join(SYSTEMS)}"
        )
    row = SYSTEMS[system]
    parts = {}
    for part in ("config", "train", "data"):
        try:
            parts[part] = from_dict(getattr(row, part), content.get(part, {}), name=part)
        except InputError as error:
            raise InputError(
                f"{Path(folder) / CONFIG}: {error}; edited, or of another version, which it names: "
                "put it back, load it there, or train anew with --overwrite"
            ) from error
    return RunConfig(system, **parts)


def append_metrics(folder: str | Path, row: dict) -> None:
    """Append one line to metrics.jsonl."""
    append_line(Path(folder) / METRICS, json.dumps(to_plain(row), allow_nan=False))


def read_metrics(folder: str | Path) -> list[dict]:
    """The rows of metrics.jsonl, oldest first; none if nothing was written yet.

    Raises:
        InputError: a damaged line.
    """
    path = Path(folder) / METRICS
    return [_row(path, number, line) for number, line in _numbered_lines(path)]


def count_epochs(folder: str | Path, epoch: int) -> int:
    """How many epochs up to this one metrics.jsonl has; errors as `rewind_metrics`."""
    return len(_lines_until(Path(folder) / METRICS, epoch))


def rewind_metrics(folder: str | Path, epoch: int) -> None:
    """Forget the epochs after this one, which will be trained again, and a torn last line.

    Raises:
        InputError: a damaged line before the last.
    """
    path = Path(folder) / METRICS
    write_bytes(path, b"".join(_lines_until(path, epoch)))


def _lines_until(path: Path, epoch: int) -> list[bytes]:
    """Those of epochs up to this one; what a power cut left of a line has no end and is none."""
    whole = [(number, line) for number, line in _numbered_lines(path) if line.endswith(b"\n")]
    return [line for number, line in whole if _row(path, number, line)["epoch"] <= epoch]


def _numbered_lines(path: Path) -> list[tuple[int, bytes]]:
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    return list(enumerate(lines, start=1))


def _row(path: Path, number: int, line: bytes) -> dict:
    with contextlib.suppress(ValueError):
        row = json.loads(line)
        if isinstance(row, dict) and isinstance(row.get("epoch"), int):
            return row
    raise InputError(f"{path}:{number}: damaged line: expected JSON of an epoch, remove it")


def _read_existing(folder: Path) -> dict:
    try:
        return read_config(folder)
    except InputError as error:
        raise InputError(
            f"{folder} is not empty and no run of {PROJECT}: choose another output folder"
        ) from error


def _is_leftover(path: Path) -> bool:
    """Of a call that was killed while it wrote the first file of a run."""
    return path.name.startswith(f".{CONFIG}.")


def _check_same(existing: dict, config: dict, folder: Path) -> None:
    asked = {key: value for key, value in existing.items() if key not in _OWN_KEYS}
    if different := differences(asked, config):
        raise InputError(
            f"{folder} belongs to another run ({summary(different)}): "
            "choose another output folder, or --overwrite to replace it"
        )


def _clear(folder: Path) -> None:
    # config.json goes last, by being replaced: an interrupted overwrite can be repeated.
    for path in folder.iterdir():
        if path.name == CONFIG:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    sync(folder)
