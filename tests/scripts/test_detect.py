"""detect.py: tables in, scores and p values out, and a clear line for tables that are none."""

import csv
import json

import numpy as np
import pytest

from vae_jax.detection.detectors import QUICK


def table(num=60, num_odd=8):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(num, 3))
    x[:num_odd] += 6
    return x, (np.arange(num) < num_odd).astype(int)


def write_csv(path, x, y=None):
    names = ["a", "b", "c"] if y is None else ["a", "y", "b", "c"]
    columns = x if y is None else np.insert(x, 1, y, axis=1)
    np.savetxt(path, columns, delimiter=",", header=",".join(names), comments="")
    return path


def scores_of(folder):
    with (folder / "scores.csv").open() as file:
        return list(csv.DictReader(file))


def test_help_is_quick(help_of):
    assert "--protocol" in help_of("detect")


@pytest.fixture(scope="module")
def labelled(run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("detect")
    data = write_csv(folder / "table.csv", *table())
    done = run("detect", "--data", data, "--out", folder / "out", "--seeds", 2)
    return done, folder / "out"


def test_labels_make_one_row_per_score(labelled):
    done, folder = labelled
    assert done.code == 0, done.err
    assert "Anomalies found" in done.out
    assert f"scores: {folder / 'scores.csv'}" in done.out
    content = json.loads((folder / "results.json").read_text())
    assert {row["score"] for row in content["rows"]} == {*QUICK}
    assert {"command", "config", "device", "git", "versions"} <= content["meta"].keys()
    (recommended,) = [row for row in content["rows"] if row["recommended"]]
    assert recommended["score"] == "gaussian_mixture"
    assert recommended["roc_auc"] > 0.95
    assert recommended["num_seeds"] == 2
    assert (folder / "figures" / "anomaly_scores_gaussian_mixture.png").is_file()


def test_scores_are_of_tested_rows_the_oddest_first(labelled):
    rows = scores_of(labelled[1])
    values = [float(row["score"]) for row in rows]
    assert len(rows) == 26 + 8
    assert values == sorted(values, reverse=True)
    assert {int(row["row"]) for row in rows[:6]} <= set(range(8))
    assert all(0 < float(row["p_value"]) <= 1 for row in rows)


def test_without_labels_all_rows_are_scored(run, tmp_path):
    x, _ = table()
    np.savez(tmp_path / "table.npz", X=x)
    done = run("detect", "--data", tmp_path / "table.npz", "--out", tmp_path / "out", "--seeds", 1)
    assert done.code == 0, done.err
    rows = scores_of(tmp_path / "out")
    assert sorted(int(row["row"]) for row in rows) == list(range(60))
    assert {int(row["row"]) for row in rows[:8]} == set(range(8))
    assert json.loads((tmp_path / "out" / "results.json").read_text())["rows"] == []


@pytest.mark.slow
def test_a_csv_and_an_npz_of_the_same_rows_have_the_same_scores(run, tmp_path):
    x, y = table()
    write_csv(tmp_path / "table.csv", x, y)
    np.savez(tmp_path / "table.npz", X=x, y=y)
    found = []
    for name in ("table.csv", "table.npz"):
        args = ["--data", tmp_path / name, "--protocol", "contaminated", "--seeds", 1]
        assert run("detect", *args, "--out", tmp_path / name[-3:]).code == 0
        found.append((tmp_path / name[-3:] / "scores.csv").read_text())
    assert found[0] == found[1]


NUMBERS = "\n".join(f"{value},{value**2 % 7}" for value in range(12))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("a,b\n", "0 rows of 2 columns: expected at least 10 of 2"),
        ("a,b\n1,2\n3,4\n", "2 rows of 2 columns: expected at least 10 of 2"),
        ("a,b\n1,red\n" + NUMBERS, "line 2 holds 'red' in b: expected numbers only"),
        ("a,b\n1,\n" + NUMBERS, "line 2 holds '' in b: expected numbers only"),
        ("a,b\n1,2,3\n" + NUMBERS, "line 2 has 3 columns: expected 2"),
        ("a,b\n1,nan\n" + NUMBERS, "row 0 (counted from 0) holds NaN or infinity"),
        ("1,2\n" + NUMBERS + "\n1,inf", "row 13 (counted from 0) holds NaN or infinity"),
        ("a,y,b\n" + NUMBERS.replace(",", ",0,"), "y holds one class, all 0.0: expected both"),
        ("a,y,b\n" + NUMBERS.replace(",", ",3,"), "y holds 3.0: expected 0 (normal)"),
        ("a,y\n" + NUMBERS, "12 rows of 1 columns: expected at least 10 of 2"),
    ],
)
def test_a_table_that_is_none_is_one_line(refused, tmp_path, text, message):
    path = tmp_path / "table.csv"
    path.write_text(text)
    line = refused("detect", "--data", path, "--out", tmp_path / "out")
    assert message in line
    assert "table.csv" in line
    assert not (tmp_path / "out").exists()


def test_few_normal_rows_are_one_line(refused, tmp_path):
    x, _ = table(num=14)
    path = write_csv(tmp_path / "table.csv", x, (np.arange(14) > 4).astype(int))
    assert "5 rows are normal: expected at least 10" in refused(
        "detect", "--data", path, "--out", tmp_path / "out"
    )


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--data", "nowhere.csv"], "nowhere.csv: no such file: expected a table, .npz or .csv"),
        (["--data", __file__], "expected a name that ends in .npz or .csv"),
        (["--seeds", 0], "seeds is 0: expected at least 1"),
        (["--digit", 10], "digit is 10: expected 0 to 9"),
    ],
)
def test_a_wrong_option_is_one_line(refused, tmp_path, args, message):
    assert message in refused("detect", *args, "--out", tmp_path / "out")


def test_an_npz_that_is_none_is_one_line(refused, tmp_path):
    np.savez(tmp_path / "other.npz", images=np.ones((20, 3)))
    (tmp_path / "empty.npz").write_bytes(b"")
    np.savez(tmp_path / "short.npz", X=table()[0], y=[0, 1])
    np.savez(tmp_path / "text.npz", X=np.full((20, 3), "a"))
    for name, message in (
        ("other", "keys are images: expected X, and y"),
        ("empty", "the file is empty"),
        ("short", "y has shape (2,): expected (60,), one per row"),
        ("text", "X is <U1 of shape (20, 3): expected numbers [rows, dim]"),
    ):
        assert message in refused("detect", "--data", tmp_path / f"{name}.npz")


@pytest.fixture(scope="module")
def run_without_ones(run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "mixture"
    options = ["--num-components", 3, "--data.held-out-label", 1]
    done = run("train", "mixture", *options, "--out", folder)
    assert done.code == 0, done.err
    return folder


def test_a_run_finds_the_class_that_was_held_out(run, run_without_ones, tmp_path):
    options = ["--run", run_without_ones, "--num-images", 60]
    done = run("detect", *options, "--out", tmp_path / "out")
    assert done.code == 0, done.err
    assert "Other images found" in done.out
    content = json.loads((tmp_path / "out" / "results.json").read_text())
    assert {row["score"] for row in content["rows"]} == {"evidence", "typicality", "complexity"}
    assert {row["num_tested"] for row in content["rows"]} == {120}
    figures = {path.stem for path in (tmp_path / "out" / "figures").iterdir()}
    assert figures == {"anomaly_scores_evidence", "anomaly_scores_complexity"}
    assert len(scores_of(tmp_path / "out")) == 120


def test_a_run_is_held_against_other_images(run, run_without_ones, tmp_path):
    noise = np.random.default_rng(0).integers(0, 17, (40, 8, 8)).astype(np.uint8)
    np.savez(tmp_path / "noise.npz", images=noise)
    options = ["--run", run_without_ones, "--against", tmp_path / "noise.npz"]
    done = run("detect", *options, "--out", tmp_path / "out")
    assert done.code == 0, done.err
    rows = json.loads((tmp_path / "out" / "results.json").read_text())["rows"]
    (evidence,) = [row for row in rows if row["score"] == "evidence"]
    assert evidence["roc_auc"] > 0.95
    assert evidence["num_anomalies"] == 8


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--run", "somewhere", "--data", "table.csv"], "run is somewhere beside data"),
        (["--against", "mnist"], "against is 'mnist' without a run"),
        (["--run", "nowhere"], "nowhere is no run folder"),
    ],
)
def test_a_run_is_asked_for_in_one_way(run, options, words):
    done = run("detect", *options)
    assert done.code == 2 or done.code == 1
    assert words in done.err
    assert done.err.count("error:") == 1
