"""A run's config as arguments of train.py. Standard library only: `--help` needs no jax."""

import dataclasses
import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vae_jax.configs import ConfigError, DataConfig, TextConfig, TrainConfig
from vae_jax.systems import SYSTEMS

OPTION = "--config"

_PARTS = {"config": "", "train": "train.", "data": "data."}
"""key of the file -> how its options begin."""

_OF_COMMAND = ("num_seeds", "learning_rates")
"""Keys that a person may write beside them."""

_OF_RUN = ("project", "versions", "images", "text")
"""Keys by which a run says what it was made with and of."""


def expand(args: list[str]) -> tuple[list[str], str | None]:
    """Put the content of `--config FILE` in its place, before all other arguments.

    Args:
        args: of train.py.

    Returns:
        The arguments without it, of which those that a person wrote come last and so have the last
        word; and the file, or None.

    Raises:
        ConfigError: no file behind the option, or one that holds no config.
    """
    args = [part for arg in args for part in _parted(arg)]
    if OPTION not in args:
        return args, None
    index = args.index(OPTION)
    path, rest = args[index + 1 : index + 2], args[:index] + args[index + 2 :]
    if not path:
        raise ConfigError(f"{OPTION} has no file: expected {OPTION} RUN/config.json")
    content = _read(Path(path[0]))
    names = [rest.pop(0)] if rest and rest[0] in SYSTEMS else [str(content.get("system", "vae"))]
    for key, prefix in _PARTS.items():
        if not isinstance(content.get(key, {}), dict):
            raise ConfigError(
                f"{path[0]}: {key} is {content[key]!r}: expected fields and their values"
            )
        names += _options(content.get(key, {}), prefix)
    names += _options({key: content[key] for key in _OF_COMMAND if key in content}, "")
    return names + rest, path[0]


def command(system: str, config: Any, train: TrainConfig, data: DataConfig | TextConfig) -> str:
    """The shortest command that trains so: what differs from the defaults.

    Args:
        system: key of `SYSTEMS`.
        config: of the system.
        train: the loop.
        data: the data.
    """
    parts = {"": config, "train.": train, "data.": data}
    options = [
        option
        for prefix, part in parts.items()
        for option in _options(_differences(part, type(part)()), prefix)
    ]
    return shlex.join(["python", "scripts/train.py", system, *options])


def _differences(config: Any, default: Any) -> dict:
    """Fields that are not as in a default, nested as configs are."""
    return {
        field.name: _differences(value, other) if dataclasses.is_dataclass(value) else value
        for field in dataclasses.fields(config)
        if (value := getattr(config, field.name)) != (other := getattr(default, field.name))
    }


def _parted(arg: str) -> list[str]:
    return arg.split("=", 1) if arg.startswith(f"{OPTION}=") else [arg]


def _read(path: Path) -> dict:
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}: expected a run's config.json") from error
    except ValueError as error:
        raise ConfigError(f"{path}: damaged JSON ({error})") from error
    if not isinstance(content, dict) or not {"system", *_PARTS} & {*content}:
        raise ConfigError(f"{path}: expected the keys system, {', '.join(_PARTS)}, or some of them")
    known = ("system", *_PARTS, *_OF_COMMAND)
    if unknown := [key for key in content if key not in (*known, *_OF_RUN)]:
        raise ConfigError(f"{path}: {unknown[0]} is unknown: expected some of {', '.join(known)}")
    return content


def _options(values: dict, prefix: str) -> Iterator[str]:
    for name, value in values.items():
        option = f"{prefix}{name.replace('_', '-')}"
        if isinstance(value, dict):
            yield from _options(value, f"{option}.")
        elif isinstance(value, bool):  # a flag, which is off unless it is there
            yield from [f"--{option}"] * value
        elif value is not None:
            yield f"--{option}"
            yield from map(str, value if isinstance(value, list | tuple) else [value])
