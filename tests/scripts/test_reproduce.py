"""reproduce.py: a row for each publication, scored as it was; what is done is kept."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bayes_jax import importance_bound
from bayes_jax.errors import InputError
from bayes_jax.estimates import exact_evidence
from vae_jax import reproduction_report, reproductions, trained
from vae_jax.configs import AutoregressiveConfig, TrainConfig, VAEConfig

from .conftest import load_script

SMALL = AutoregressiveConfig(hidden_dims=(16,), channels=4, num_layers=1)


@pytest.fixture
def little(monkeypatch):
    """The table with networks of a size for tests, on digits."""
    small = {
        name: dataclasses.replace(
            asked,
            config=VAEConfig(3, (16,)) if asked.system == "vae" else SMALL,
            train=TrainConfig(2, 64, patience=2),
            num_samples=min(asked.num_samples, 7),
        )
        for name, asked in reproductions.REPRODUCTIONS.items()
    }
    for name, asked in small.items():
        monkeypatch.setitem(reproductions.REPRODUCTIONS, name, asked)
    script = load_script("reproduce")
    monkeypatch.setattr(script, "DATA", "digits")
    return script


@pytest.mark.slow
def test_rows_are_the_published_scores_of_runs_that_can_be_loaded(little, tmp_path, capsys):
    command = little.Reproduce(("flax", "altosaar"), out=tmp_path)
    little.main(command)
    printed = capsys.readouterr().out
    rows = json.loads((tmp_path / "results.json").read_text())["rows"]
    assert [row["published"] for row in rows] == [103.6, 97.1]
    assert [row["num_samples"] for row in rows] == [1, 7]
    assert "103.60" in printed
    run = trained.load(tmp_path / "altosaar")
    x = trained.load_data(run).test.astype(np.float32)
    model = run.generative
    bounds = [
        importance_bound(jax.random.key(seed), model.latent, x, guide=model.guide, num_samples=7)
        for seed in range(1, 5)
    ]
    values = -np.array([np.mean(bound.lower) for bound in bounds])
    assert abs(rows[1]["nll"] - values.mean()) < 6 * values.std(ddof=1)
    assert rows[1]["num_images"] == len(x)
    assert 0 <= rows[1]["active_units"] <= 3
    little.main(little.Reproduce(("vae_1", "flax"), out=tmp_path))
    assert "flax is finished" in capsys.readouterr().err
    again = json.loads((tmp_path / "results.json").read_text())["rows"]
    assert [row["published"] for row in again] == [103.6, 97.1, 88.71]
    assert again[:2] == rows
    (tmp_path / "flax" / "reproduction.json").write_text("{")
    with pytest.raises(InputError, match=r"reproduction.json is damaged: delete it"):
        little.main(command)


def test_an_exact_model_is_scored_without_samples(little, tmp_path):
    little.main(little.Reproduce(("made",), out=tmp_path))
    (row,) = json.loads((tmp_path / "results.json").read_text())["rows"]
    run = trained.load(tmp_path / "made")
    x = trained.load_data(run).test.astype(np.float32)
    exact = -np.mean(np.asarray(run.generative.density.log_prob(x), np.float64))
    assert row["nll"] == pytest.approx(exact, abs=1e-3)
    assert row["num_samples"] == 0
    assert row["active_units"] is None


def test_a_score_that_is_no_number_is_told_and_tried_again(little, tmp_path, capsys, monkeypatch):
    command = little.Reproduce(("flax",), out=tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(reproduction_report, "_evidence", without_a_number)
        little.main(command)
    (row,) = json.loads((tmp_path / "results.json").read_text())["rows"]
    assert row["nll"] is None
    assert "image 2: their mean is no number" in capsys.readouterr().err
    little.main(command)
    (row,) = json.loads((tmp_path / "results.json").read_text())["rows"]
    assert row["nll"] > 0
    assert "is finished" not in capsys.readouterr().err


def without_a_number(key, asked, generative, x):
    return exact_evidence(jnp.zeros(len(x)).at[2].set(jnp.nan))


def test_what_is_unknown_is_one_line(little):
    with pytest.raises(ValueError, match=r"names: 'gan' is unknown: expected all or some of flax"):
        little.Reproduce(("gan",))


def test_help_is_quick_and_names_all(help_of):
    text = " ".join(help_of("reproduce").split())
    for name in reproductions.REPRODUCTIONS:
        assert name in text
