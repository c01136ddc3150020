"""Results of the project in two parts that a file can hold: an outline in JSON, and arrays.

A result is a NamedTuple of arrays, numbers, names, None and other such tuples. Nothing of a file is
ever run: an outline can only name NamedTuples of this project.
"""

import enum
import importlib
from typing import Any

import jax
import numpy as np
from jaxtyping import Array

from bayes_jax.errors import InputError

_PACKAGES = ("bayes_jax", "vae_jax")


def pack(value: Any) -> tuple[Any, list[Array | np.ndarray]]:
    """Take a result apart.

    Args:
        value: a result.

    Returns:
        Its outline, as JSON can hold it; its arrays.

    Raises:
        TypeError: something that an outline cannot describe.
    """
    arrays = []
    return _outline(value, arrays), arrays


def unpack(outline: Any, arrays: list[Array | np.ndarray]) -> Any:
    """Put a result together again.

    Args:
        outline: from `pack`.
        arrays: likewise.

    Raises:
        InputError: an outline of something that is not of this project.
    """
    if not isinstance(outline, dict):
        return outline
    (kind, content), *_ = outline.items()
    if kind == "array":
        return arrays[content]
    if kind == "numpy":
        values = np.frombuffer(np.asarray(arrays[content]).tobytes(), outline["dtype"])
        return values.reshape(outline["shape"])
    if kind == "enum":
        return _find(content, enum.Enum)(outline["value"])
    parts = [unpack(part, arrays) for part in outline["parts"]]
    if kind == "sequence":
        return {"tuple": tuple, "list": list}[content](parts)
    if kind == "dict":
        return dict(zip(content, parts, strict=True))
    return _find(content, tuple)(*parts)


def _outline(value, arrays):
    if isinstance(value, enum.Enum):
        return {"enum": _name(type(value)), "value": value.value}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, jax.Array):
        arrays.append(value)
        return {"array": len(arrays) - 1}
    if isinstance(value, np.ndarray | np.generic):
        # As bytes: JAX would make 32 bits of 64.
        arrays.append(np.frombuffer(value.tobytes(), np.uint8))
        return {"numpy": len(arrays) - 1, "dtype": value.dtype.str, "shape": [*value.shape]}
    if isinstance(value, dict):
        return {"dict": [*value], "parts": [_outline(part, arrays) for part in value.values()]}
    if not isinstance(value, tuple | list):
        raise TypeError(f"a {type(value).__name__} has no outline: expected tuples of arrays")
    parts = [_outline(part, arrays) for part in value]
    if hasattr(value, "_fields"):
        return {"result": _name(type(value)), "parts": parts}
    return {"sequence": type(value).__name__, "parts": parts}


def _name(kind: type) -> str:
    return f"{kind.__module__}:{kind.__qualname__}"


def _find(name: str, base: type) -> type:
    module, _, attribute = name.partition(":")
    if module.partition(".")[0] in _PACKAGES and attribute.isidentifier():
        found = getattr(importlib.import_module(module), attribute, None)
        if isinstance(found, type) and issubclass(found, base):
            return found
    raise InputError(f"{name} is no result of this project: expected one of {_PACKAGES}")
