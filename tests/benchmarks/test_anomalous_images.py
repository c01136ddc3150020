"""The benchmark of images of another kind: rows of each score, and means over held-out digits."""

import importlib
import json
from pathlib import Path

import pytest

from vae_jax.configs import MixtureConfig, TrainConfig, VAEConfig

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    module = importlib.import_module("anomalous_images")
    models = (
        module.Model("vae", VAEConfig(2, (8,)), TrainConfig(num_epochs=1)),
        module.Model("mixture", MixtureConfig(2), TrainConfig()),
    )
    monkeypatch.setattr(module, "OF_DIGITS", models)
    return module


@pytest.mark.slow
def test_each_score_of_each_model_has_its_mean(bench, tmp_path, capsys):
    bench.main(bench.Bench(labels=(0, 7), num_images=30, out=tmp_path))
    rows = json.loads((tmp_path / "anomalous_images.json").read_text())["rows"]
    own = [row for row in rows if not row["data"].endswith("mean")]
    means = {(row["model"], row["score"]): row for row in rows if row["data"].endswith("mean")}
    assert {row["data"] for row in own} == {"digits without one: 0", "digits without one: 7"}
    assert {model for model, _ in means} == {"vae", "mixture"}
    for (model, score), mean in means.items():
        each = [row["roc_auc"] for row in own if (row["model"], row["score"]) == (model, score)]
        assert len(each) == mean["num_held_out"] == 2
        assert mean["roc_auc"] == pytest.approx(sum(each) / 2)
        assert mean["lowest_roc_auc"] == min(each)
    best = means["vae", "evidence"]["roc_auc"], means["vae", "complexity"]["roc_auc"]
    last = capsys.readouterr().out.splitlines()[-1]
    assert f"mean {best[0]:.3f} by -log p(x), {best[1]:.3f} by complexity" in last
