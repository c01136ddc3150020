"""Tables of numbers, with or without labels: from .npz, from .csv, and digits that need no file."""

import csv
import io
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from bayes_jax.errors import InputError
from vae_jax.data.formats import opened, read_npz, read_whole

MIN_ROWS, MIN_COLUMNS = 10, 2
LABEL = "y"
"""The key or column that says 0 of a normal row and 1 of an anomaly."""


class Rows(NamedTuple):
    """A table.

    Attributes:
        x: `[num, dim]`.
        is_anomaly: `[num]`; None where nobody said.
    """

    x: Float[np.ndarray, "num dim"]
    is_anomaly: Bool[np.ndarray, " num"] | None


def read(path: Path) -> Rows:
    """Read a table: .npz with keys X and, if known, y; or .csv, with a header if it has labels.

    Args:
        path: the file.

    Raises:
        InputError: no such file, or one that holds something else than finite numbers in at least
            10 rows of at least 2 columns, all of one length, with labels 0 and 1 or none.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file: expected a table, .npz or .csv")
    if path.suffix not in (".npz", ".csv"):
        raise InputError(f"{path}: expected a name that ends in .npz or .csv")
    found = _read_npz(path) if path.suffix == ".npz" else _read_csv(path)
    return checked(*found, name=str(path))


def checked(x: np.ndarray, labels: np.ndarray | None, *, name: str) -> Rows:
    """Rows of arrays that may be anything.

    Args:
        x: expected `[num, dim]`.
        labels: expected `[num]` of 0 and 1, or None.
        name: of the table, in errors.

    Raises:
        InputError: as `read`.
    """
    if x.ndim != 2 or x.dtype.kind not in "biuf":
        raise InputError(f"{name}: X is {x.dtype} of shape {x.shape}: expected numbers [rows, dim]")
    if len(x) < MIN_ROWS or x.shape[1] < MIN_COLUMNS:
        raise InputError(
            f"{name}: {len(x)} rows of {x.shape[1]} columns: expected at least {MIN_ROWS} of "
            f"{MIN_COLUMNS}"
        )
    finite = np.isfinite(x).all(axis=1)
    if not finite.all():
        raise InputError(
            f"{name}: row {np.argmin(finite)} (counted from 0) holds NaN or infinity: remove or "
            "impute it"
        )
    return Rows(x.astype(float), None if labels is None else _checked_labels(labels, len(x), name))


def described(rows: Rows) -> tuple[str, str | None]:
    """A line on what a table holds, and a warning where a label seems to stand among its columns.

    Args:
        rows: of the table.
    """
    labels = "no y: unlabelled" if rows.is_anomaly is None else "labels in y"
    line = f"{len(rows.x)} rows of {rows.x.shape[1]} columns, {labels}"
    if rows.is_anomaly is not None or not np.isin(rows.x[:, -1], (0, 1)).all():
        return line, None
    return line, f"the last column holds only 0 and 1: if it is the label, call it {LABEL}"


def digits(odd: int) -> Rows:
    """scikit-learn's 1,797 digits of 8 x 8 pixels, one of the ten being the anomaly.

    Args:
        odd: that digit.
    """
    from sklearn.datasets import load_digits

    found = load_digits()
    return Rows(found.data.astype(float), found.target == odd)


def _checked_labels(labels, num, name) -> np.ndarray:
    if labels.shape != (num,):
        raise InputError(f"{name}: y has shape {labels.shape}: expected ({num},), one per row")
    classes = np.unique(labels)
    if not np.isin(classes, (0, 1)).all():
        shown = ", ".join(map(str, classes[:4]))
        raise InputError(f"{name}: y holds {shown}: expected 0 (normal) and 1 (anomaly)")
    if len(classes) < 2:
        raise InputError(f"{name}: y holds one class, all {classes[0]}: expected both, or no y")
    return labels == 1


def _read_npz(path):
    arrays = read_npz(path)
    if "X" not in arrays:
        raise InputError(f"{path}: keys are {', '.join(arrays) or 'none'}: expected X, and y")
    return arrays["X"], arrays.get(LABEL)


def _read_csv(path):
    with opened(path) as stream:
        lines = _csv_lines(read_whole(stream, path), path)
    if not lines:
        raise InputError(f"{path}: the file is empty: expected rows of numbers")
    names = [cell.strip() for cell in lines[0][1]]
    if any(map(_is_number, names)):
        names = [f"column {index}" for index in range(len(names))]
    else:
        del lines[0]
    table = np.array([_numbers(cells, names, f"{path}: line {line}") for line, cells in lines])
    table = table.reshape(len(lines), len(names))
    if LABEL not in names:
        return table, None
    index = names.index(LABEL)
    return np.delete(table, index, axis=1), table[:, index]


def _csv_lines(content, path) -> list[tuple[int, list[str]]]:
    try:
        text = io.StringIO(content.decode("utf-8-sig"), newline="")
        return [(number, cells) for number, cells in enumerate(csv.reader(text), 1) if cells]
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: is no CSV text ({error})") from error


def _numbers(cells, names, where) -> list[float]:
    if len(cells) != len(names):
        raise InputError(f"{where} has {len(cells)} columns: expected {len(names)}, as the first")
    for name, cell in zip(names, cells, strict=True):
        if not _is_number(cell):
            raise InputError(f"{where} holds {cell!r} in {name}: {_expected(name, cell)}")
    return [float(cell) for cell in cells]


def _expected(name: str, cell: str) -> str:
    if name == LABEL:
        return "expected 0 (normal) or 1 (anomaly)"
    if not cell.strip():
        return "expected numbers only, so remove or impute what is missing"
    return "expected numbers only, so remove that column or encode it"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
