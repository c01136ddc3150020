"""The benchmark of sharding: the fastest turn counts, beside that of one device."""

import importlib
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def sharding(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("sharding")


def turn(num_devices, seconds, value=-100.0):
    return {
        "work": "evidence",
        "num_devices": num_devices,
        "min_seconds": seconds,
        "value": value,
    }


def test_the_fastest_turn_is_held_against_the_fastest_of_one_device(sharding):
    turns = [turn(1, 2.0), turn(8, 9.0), turn(1, 4.0), turn(8, 2.5, -100.01)]
    one, eight = sharding.compared(turns)
    assert (one["added"], one["relative_error"]) == (0.0, 0.0)
    assert eight["added"] == pytest.approx(0.25)
    assert eight["relative_error"] == pytest.approx(1e-4)
    line = sharding.summary([one, eight], sharding.Benchmark(num_devices=(8,)))
    assert "8 devices on the same cores: evidence +25%; values differ by 1.0e-04" in line
