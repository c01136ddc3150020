"""The benchmark of sentences: one axis, paired differences, sentences put back in their places."""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest

from bayes_jax.sequences import END, lengths
from vae_jax.data.text import load_text

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def text(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("text")


def test_what_is_over_the_rival_is_paired(text):
    """Every sentence costs 0.1 nats a token more: an error of none, whatever each one costs."""
    num_tokens = np.array([3, 5, 9])
    of_rival = np.array([-10.0, -4.0, -30.0])
    row = text.scored(of_rival - 0.1 * num_tokens, of_rival, num_tokens)
    assert row["over_rival"] == pytest.approx(np.exp(0.1) - 1)
    assert row["stderr_over_rival"] == pytest.approx(0, abs=1e-12)
    assert row["perplexity"] == pytest.approx(np.exp(44 / 17 + 0.1))
    assert row["nats"] == pytest.approx((44 + 1.7) / 3)


def test_rows_of_about_one_length_are_cut_behind_their_ends(text):
    rng = np.random.default_rng(0)
    x = np.where(np.arange(20) < rng.integers(0, 20, (50, 1)), 1, END)
    x[7] = 1  # cut: it has no end
    seen = []
    for places, length in text.models._by_length(x):
        seen += places.tolist()
        np.testing.assert_array_equal(lengths(x[places, :length]), lengths(x[places]))
        assert np.all(lengths(x[places]) > length - text.models._LENGTH_STEP)
    assert sorted(seen) == list(range(50))


@pytest.mark.long
def test_it_writes_every_model(text, monkeypatch, tmp_path, capsys):
    def few(config):
        dataset = load_text(config)
        return dataset._replace(train=dataset.train[:200], validation=dataset.validation[:40])

    monkeypatch.setattr(text, "load_text", few)
    options = {"num_epochs": 1, "num_iterations": 2, "num_importance": 5}
    text.main(text.Bench("grammar", num_sentences=20, num_written=10, out=tmp_path, **options))
    content = json.loads((tmp_path / "text_grammar.json").read_text())
    rows = {row["model"]: row for row in content["rows"]}
    networks = ["language_model", "text_vae"]
    assert [*rows] == ["held-out sentences", *networks, "ngram_3", "ngram_5", "hmm", "grammar"]
    assert rows["text_vae"]["kind"] == "importance bound of 5"
    assert {row["kind"] for name, row in rows.items() if "ngram" in name} == {"exact"}
    assert rows["grammar"]["parsed"] == rows["held-out sentences"]["parsed"] == 1
    assert rows["language_model"]["over_rival"] == 0
    best = min(row["nats"] for row in content["rows"][1:])
    assert rows["grammar"]["nats"] == best
    assert capsys.readouterr().out.splitlines()[-1].startswith("language_model")
