"""Cells: numbers by format, errors behind values, nothing where there is nothing."""

import jax.numpy as jnp
import numpy as np
import pytest

from bayes_jax.estimates import EvidenceKind
from vae_jax.tables import ABSENT, Column, Table, cell, explanation, is_numeric


@pytest.mark.parametrize(
    ("value", "format_spec", "expected"),
    [
        (-16.518, ".2f", "-16.52"),
        (np.float32(-16.518), ".2f", "-16.52"),
        (jnp.float32(0.25), ".0%", "25%"),
        (1200, ",d", "1,200"),
        (-0.001, ".2f", "0.00"),
        (0, ".1f", "0.0"),
        (float("nan"), ".2f", ABSENT),
        (jnp.inf, ".2f", ABSENT),
        (None, ".2f", ABSENT),
        ("exact", ".2f", "exact"),
        (True, ".2f", "yes"),
        (EvidenceKind.SANDWICH, "", "sandwich"),
    ],
)
def test_a_cell_is_written_as_its_column_says(value, format_spec, expected):
    assert cell({"a": value}, Column("a", "A", format_spec)) == expected


def test_an_error_stands_behind_its_value_where_there_is_one():
    column = Column("a", "A", ".1f", stderr="e")
    assert cell({"a": 1.0, "e": 0.25}, column) == "1.0 ± 0.2"
    assert cell({"a": 1.0, "e": float("nan")}, column) == "1.0"
    assert cell({"a": None, "e": 0.25}, column) == ABSENT
    assert cell({}, column) == ABSENT


def test_numbers_are_told_from_words():
    rows = [{"model": "vae", "kind": EvidenceKind.EXACT, "a": None}, {"a": np.float32(2)}]
    columns = [Column("model", "M"), Column("kind", "K"), Column("a", "A")]
    table = Table("t", rows, columns)
    assert [is_numeric(table, column) for column in columns] == [False, False, True]


def test_what_stands_under_a_table_comes_from_its_columns_and_its_note():
    columns = [
        Column("m", "M"),
        Column("a", "A", meaning="how much"),
        Column("b", "B", meaning="b"),
    ]
    assert explanation(Table("t", [], columns, "Mind this.")) == "A: how much. B: b. Mind this."
    assert explanation(Table("t", [], columns[:1])) == ""
