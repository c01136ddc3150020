"""The benchmark on faces: sizes by validation, errors over people, one JSON and the pictures."""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest

from vae_jax.configs import MixtureConfig, NetworkConfig, PPCAConfig, TrainConfig, VAEConfig

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def faces(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    module = importlib.import_module("faces")
    small = VAEConfig(2, (), network=NetworkConfig("conv", (2,)))
    monkeypatch.setattr(module, "VAES", {"freyfaces": (small, TrainConfig(batch_size=512))})
    exact = {"ppca": [PPCAConfig(1), PPCAConfig(3)], "mixture": [MixtureConfig(1)]}
    monkeypatch.setattr(module, "EXACT", exact)
    monkeypatch.setattr(module, "NUM_FIT_STEPS", 2)
    monkeypatch.setattr(module, "NUM_IMPORTANCE_SAMPLES", 4)
    return module


@pytest.fixture
def folder(tmp_path):
    """A film of three dimensions and some noise."""
    rng = np.random.default_rng(0)
    film = rng.normal(size=(1965, 3)) @ rng.normal(size=(3, 560)) + rng.normal(size=(1965, 560))
    (tmp_path / "faces").mkdir()
    film = np.clip(np.round(128 + 20 * film), 0, 255).astype(np.uint8)
    np.save(tmp_path / "faces" / "freyfaces.npy", film)
    return tmp_path


@pytest.mark.long
def test_it_scores_every_model_and_draws(faces, folder, capsys):
    sets = ("freyfaces",)
    faces.main(faces.Bench(str(folder), sets, num_epochs=1, out=folder / "out"))
    content = json.loads((folder / "out" / "faces.json").read_text())
    assert str(folder) not in json.dumps(content)
    rows = {(row["model"], row["method"]): row for row in content["rows"]}
    assert [*rows] == [
        ("vae", "encoder"),
        ("vae", "fitted q*"),
        ("ppca", "exact"),
        ("mixture", "exact"),
    ]
    assert rows["ppca", "exact"]["size"] == 3
    assert rows["ppca", "exact"]["sizes"] == [1, 3]
    assert {row["num_groups"] for row in content["rows"]} == {8}
    # The noise alone, of 20 grey levels, has log2(20 sqrt(2 pi e)) bits, and z a few more.
    noise = np.log2(20 * np.sqrt(2 * np.pi * np.e))
    assert noise < rows["ppca", "exact"]["bits_per_dim"] < noise + 0.1
    assert (folder / "out" / "faces_freyfaces.png").is_file()
    assert capsys.readouterr().out.splitlines()[-1] == content["meta"]["summary"]


def test_errors_are_those_of_the_mean_over_people(faces):
    """Ten equal pictures of one person count once."""
    means = np.array([1.0, 2.0, 4.0])
    stderr, num = faces.grouped_stderr(np.repeat(means, 10), np.repeat([7, 3, 5], 10))
    assert num == 3
    assert stderr == pytest.approx(means.std(ddof=1) / 3**0.5)
