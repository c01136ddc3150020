"""A run's config.json as arguments. Standard library only: `--help` needs no jax."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vae_jax.configs import ConfigError
from vae_jax.systems import SYSTEMS

OPTION = "--config"

_PARTS = {"config": "", "train": "train.", "data": "data."}
"""key of the file -> how its options begin."""


def expand(args: list[str]) -> list[str]:
    """Put the content of `--config FILE` in its place, before all other arguments.

    Args:
        args: of train.py.

    Returns:
        The arguments without it; what a person wrote comes last, and so has the last word.

    Raises:
        ConfigError: no file behind the option, or one that holds no config.
    """
    if OPTION not in args:
        return args
    index = args.index(OPTION)
    path, rest = args[index + 1 : index + 2], args[:index] + args[index + 2 :]
    if not path:
        raise ConfigError(f"{OPTION} has no file: expected {OPTION} RUN/config.json")
    content = _read(Path(path[0]))
    names = [rest.pop(0)] if rest and rest[0] in SYSTEMS else [str(content.get("system", "vae"))]
    for key, prefix in _PARTS.items():
        names += _options(content.get(key, {}), prefix)
    return names + rest


def _read(path: Path) -> dict:
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}: expected a run's config.json") from error
    except ValueError as error:
        raise ConfigError(f"{path}: damaged JSON ({error})") from error
    if not isinstance(content, dict) or not {"system", *_PARTS} & {*content}:
        raise ConfigError(f"{path}: expected the keys system, {', '.join(_PARTS)}, or some of them")
    return content


def _options(values: Any, prefix: str) -> Iterator[str]:
    if not isinstance(values, dict):
        raise ConfigError(f"{prefix or 'config'} is {values!r}: expected fields and their values")
    for name, value in values.items():
        option = f"{prefix}{name.replace('_', '-')}"
        if isinstance(value, dict):
            yield from _options(value, f"{option}.")
        elif value is not None:
            yield f"--{option}"
            yield from map(str, value if isinstance(value, list) else [value])
