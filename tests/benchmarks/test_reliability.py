"""The benchmark of faults: what pytest says of each test becomes a row, and a failure fails it."""

import importlib
import json
from pathlib import Path

import pytest

from bayes_jax import InputError

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"

TESTS = """
import pytest

@pytest.mark.parametrize("count", [3, 40])
def test_faults(count):
    assert count == 3

@pytest.mark.parametrize("name", ["float32"])
def test_alone(name):
    pass
"""


@pytest.fixture
def reliability(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(BENCHMARKS)
    module = importlib.import_module("reliability")
    monkeypatch.setattr(module, "TESTS", tmp_path)
    return module


def test_rows_say_what_passed_how_often_and_how_long(reliability, tmp_path, capfd):
    (tmp_path / "test_some.py").write_text(TESTS)
    assert reliability.main(reliability.Bench(out=tmp_path)) == 1
    rows = json.loads((tmp_path / "reliability.json").read_text())["rows"]
    assert [(row["test"], row["count"], row["outcome"]) for row in rows] == [
        ("test_some: test_faults[3]", 3, "passed"),
        ("test_some: test_faults[40]", 40, "failure"),
        ("test_some: test_alone[float32]", None, "passed"),
    ]
    assert all(row["seconds"] >= 0 for row in rows)
    assert capfd.readouterr().out.endswith("2 of 3 tests of faults passed, 4 faults in them\n")


def test_a_name_that_no_file_has_is_refused(reliability):
    with pytest.raises(InputError, match="only is"):
        reliability.files(reliability.Bench(only=("nothing",)))
