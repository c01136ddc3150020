"""A run's config.json as arguments. Standard library only: `--help` needs no jax."""

import json
from collections.abc import Iterator
from pathlib import Path

from vae_jax.configs import ConfigError
from vae_jax.systems import SYSTEMS

OPTION = "--config"

_PARTS = {"config": "", "train": "train.", "data": "data."}
"""key of the file -> how its options begin."""


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
    return names + rest, path[0]


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
    return content


def _options(values: dict, prefix: str) -> Iterator[str]:
    for name, value in values.items():
        option = f"{prefix}{name.replace('_', '-')}"
        if isinstance(value, dict):
            yield from _options(value, f"{option}.")
        elif value is not None:
            yield f"--{option}"
            yield from map(str, value if isinstance(value, list) else [value])
