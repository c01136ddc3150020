"""What every config checks its fields with: one line that names the field."""

from collections.abc import Mapping
from dataclasses import fields
from typing import get_args


class ConfigError(ValueError):
    """A config that cannot be: one line naming the field, its value and what was expected.

    Scripts show that line and no traceback, as they do for `bayes_jax.InputError`.
    """


def check(condition: bool, field: str, value: object, expected: str) -> None:
    """Refuse a value of a field, and say what was expected."""
    if not condition:
        raise ConfigError(f"{field} is {value!r}: expected {expected}")


def check_name(name: str, choices: object, field: str = "name") -> None:
    """Refuse a name that is none of a `Literal`."""
    names = get_args(choices)
    check(name in names, field, name, f"one of {', '.join(names)}")


def check_owners(config, owners: Mapping[str, tuple[str, ...]], what: str) -> None:
    """Refuse a field that its config's name does not read, unless it is as it was by default.

    Args:
        config: a dataclass with a `name`.
        owners: field -> the names that read it.
        what: the config makes, such as "a prior".
    """
    defaults = {field.name: field.default for field in fields(config)}
    for field, names in owners.items():
        value = getattr(config, field)
        expected = f"{what} that has one ({' or '.join(names)}), not {config.name}"
        check(config.name in names or value == defaults[field], field, value, expected)
