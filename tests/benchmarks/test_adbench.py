"""The benchmark over tables: thinned the same way each time, means over tables, one JSON."""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest

from bayes_jax import InputError

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def adbench(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    module = importlib.import_module("adbench")
    monkeypatch.setattr(module, "BASELINES", ("ppca", "isolation_forest"))
    monkeypatch.setattr(
        module, "RECOMMENDED", {"normal": "ppca", "contaminated": "trimmed_gaussian"}
    )
    return module


@pytest.fixture
def folder(tmp_path):
    """Two tables, the anomalies of the second unlike nothing."""
    rng = np.random.default_rng(0)
    y = (np.arange(80) < 10).astype(int)
    for name, shift in (("1_far", 9.0), ("2_near", 0.0)):
        np.savez(tmp_path / f"{name}.npz", X=rng.normal(size=(80, 3)) + shift * y[:, None], y=y)
    return tmp_path


def test_it_writes_every_table_and_the_means(adbench, folder, capsys):
    adbench.main(adbench.Bench(folder, seeds=2, out=folder / "out"))
    content = json.loads((folder / "out" / "adbench.json").read_text())
    rows = content["rows"]
    assert {row["data"] for row in rows} == {"1_far", "2_near", "mean"}
    assert len(rows) == 2 * (2 + 3) + (2 + 3)
    of = {(row["data"], row["protocol"], row["score"]): row["roc_auc"] for row in rows}
    key = ("contaminated", "trimmed_gaussian")
    assert of["1_far", *key] > 0.99
    assert of["mean", *key] == pytest.approx((of["1_far", *key] + of["2_near", *key]) / 2)
    assert content["meta"]["config"]["max_rows"] == 4000
    assert capsys.readouterr().out.splitlines()[-1].startswith("mean ROC-AUC: normal ppca")


def test_a_table_is_thinned_the_same_way_for_all(adbench, folder):
    table = adbench.rows.read(folder / "1_far.npz")
    first, again = (adbench.thinned(table, 30) for _ in range(2))
    assert first.x.shape == (30, 3)
    np.testing.assert_array_equal(first.x, again.x)
    np.testing.assert_array_equal(first.is_anomaly, first.x.mean(axis=1) > 5)
    assert len(adbench.thinned(table, 100).x) == 80


def test_no_tables_are_one_line(adbench, folder):
    with pytest.raises(InputError, match=r"has no table 'x': expected \.npz files"):
        adbench.chosen(adbench.Bench(folder, tables="x"))
