"""What every config checks its fields with: one line that names the field."""

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
