"""Tables as a person reads them: rows of results, the columns to show, how to write a cell."""

import math
from typing import Any, NamedTuple

ABSENT = "\N{EN DASH}"
"""What stands in a cell that has no value: not measured, not finite, or not applicable."""


class Column(NamedTuple):
    """One column of a table.

    Attributes:
        key: of the rows' dicts.
        header: what it is, with its unit.
        format: a format specification for numbers, such as ".2f".
        stderr: key of the standard error shown behind the value as ± error; None shows none.
        meaning: what the header does not say, for a person who has not read the code.
    """

    key: str
    header: str
    format: str = ""
    stderr: str | None = None
    meaning: str = ""


class Table(NamedTuple):
    """Rows to show and how.

    Attributes:
        title: what the table compares.
        rows: one dict a row; keys without a column are kept for results.json.
        columns: what to show, left to right.
        note: what to know beyond what the columns mean.
    """

    title: str
    rows: list[dict]
    columns: list[Column]
    note: str = ""


def explanation(table: Table) -> str:
    """What stands under a table: the meaning of each column, then the note."""
    meanings = [f"{column.header}: {column.meaning}." for column in table.columns if column.meaning]
    return " ".join([*meanings, *([table.note] if table.note else [])])


def cell(row: dict, column: Column) -> str:
    """The text of one cell."""
    text = _text(row.get(column.key), column.format)
    error = _text(row.get(column.stderr), column.format) if column.stderr else ABSENT
    return text if ABSENT in (text, error) else f"{text} ± {error}"


def is_numeric(table: Table, column: Column) -> bool:
    """Whether a column holds numbers, which are written to the right."""
    values = [_scalar(row.get(column.key)) for row in table.rows]
    return any(isinstance(value, int | float) for value in values)


def _text(value: Any, format_spec: str) -> str:
    value = _scalar(value)
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ABSENT
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    text = format(value, format_spec)
    # -0.00 is a rounded nothing, not a negative number.
    return text[1:] if text.startswith("-") and not text.strip("-0.,%") else text


def _scalar(value: Any) -> Any:
    """Enum members by name, array scalars as Python numbers."""
    if hasattr(value, "name") and hasattr(value, "value"):
        return value.name.lower()
    return value.item() if hasattr(value, "item") else value
