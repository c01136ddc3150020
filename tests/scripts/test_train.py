"""train.py: what it leaves in the run folder, and that it leaves nothing where it refuses."""

import json
import subprocess
import sys

import jax
import numpy as np
import pytest
from scipy.special import log_expit, logsumexp

from vae_jax import console, runs, trained
from vae_jax.arguments import parse_train
from vae_jax.systems import SYSTEMS
from vae_jax.training import EpochReport, evaluate

from .conftest import SCRIPTS, TINY, load_script


def rows_of(folder, table="training"):
    rows = json.loads((folder / "results.json").read_text())["rows"]
    return [row for row in rows if row["table"] == table]


def test_help_is_quick_and_names_every_system(help_of):
    text = help_of("train")
    assert all(name in text for name in SYSTEMS)
    assert "{" + ",".join(SYSTEMS) + "}" in "".join(text.split())
    assert "--train.num-epochs" in text


def test_a_mistake_is_one_line_in_a_process_of_its_own(tmp_path):
    command = [sys.executable, str(SCRIPTS / "train.py"), "wae", "--out", str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("error: Unrecognized options: wae; Available subcommands: vae,")
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_the_run_folder_holds_everything(vae_run):
    found = {path.name for path in vae_run.iterdir()} - {"inference"}  # of another test, maybe
    assert found == {
        "config.json",
        "checkpoints",
        "metrics.jsonl",
        "figures",
        "report.html",
        "results.csv",
        "results.json",
    }
    assert (vae_run / "figures" / "training.png").read_bytes().startswith(b"\x89PNG")
    metrics = runs.read_metrics(vae_run)
    assert [row["epoch"] for row in metrics] == [1, 2, 3]
    assert metrics[-1]["train"]["objective"] > metrics[0]["train"]["objective"]


def test_the_config_of_a_run_trains_it_again(vae_run):
    asked = trained.load(vae_run).config
    command = parse_train(["--config", str(vae_run / runs.CONFIG)])
    assert runs.RunConfig(command.name, command.system, command.train, command.data) == asked


def test_the_scores_of_a_vae_agree_with_the_loops(vae_run):
    run = trained.load(vae_run)
    dataset = trained.load_data(run)
    for split, x in (("validation", dataset.validation), ("test", dataset.test)):
        rows = {row["method"]: row for row in rows_of(vae_run) if row["split"] == split}
        elbo, bound = rows["amortized q (ELBO)"], rows["importance bound, K = 50"]
        looped = [
            np.asarray(
                evaluate(jax.random.key(seed), run.system, run.progress.best_state, x)["elbo"]
            )
            for seed in range(20)
        ]
        stderr = np.sqrt(np.var(looped, axis=0, ddof=1).sum() * (1 / 20 + 1 / 50)) / len(x)
        assert abs(elbo["log_prob"] - np.mean(looped)) < 4 * stderr
        over_images = np.std(np.mean(looped, axis=0), ddof=1) / np.sqrt(len(x))
        assert elbo["stderr"] == pytest.approx(over_images, rel=0.1)
        assert elbo["log_prob"] < bound["log_prob"] < 0
        assert (elbo["kind"], elbo["num_images"]) == ("lower", len(x))


def test_every_latent_unit_has_a_row(vae_run):
    run = trained.load(vae_run)
    rows = rows_of(vae_run, "units")
    assert sorted(row["unit"] for row in rows) == [0, 1, 2]
    x = trained.load_data(run).validation
    kl = np.mean(evaluate(jax.random.key(0), run.system, run.progress.best_state, x)["kl"])
    assert sum(row["kl"] for row in rows) == pytest.approx(float(kl), rel=1e-3)


@pytest.mark.slow
def test_a_collapsed_model_is_told_of(run, tmp_path):
    """A KL of a thousandfold weight leaves nothing in z."""
    options = ["--objective.name", "beta", "--objective.beta", 1000, "--train.learning-rate", 0.01]
    done = run("train", "vae", *TINY, *options, "--out", tmp_path / "run")
    assert done.code == 0
    assert f"warning: {tmp_path / 'run'}: posterior collapse: 0 of 3 latent units" in done.err


def test_the_score_of_a_mixture_is_its_evidence(mixture_run):
    run = trained.load(mixture_run)
    x = trained.load_data(run).test.astype(float)
    weights, logits = (np.asarray(leaf, float) for leaf in run.progress.best_state)
    pixels = x @ log_expit(logits).T + (1 - x) @ log_expit(-logits).T
    log_prob = logsumexp(weights + pixels, axis=1)
    (row,) = (row for row in rows_of(mixture_run) if row["split"] == "test")
    assert row["log_prob"] == pytest.approx(log_prob.mean(), abs=1e-3)
    assert row["stderr"] == pytest.approx(log_prob.std(ddof=1) / len(x) ** 0.5, rel=1e-3)
    assert row["kind"] == "exact"


OTHERS = {
    "gan": (["--latent-dim", 3, "--hidden-dims", 16, "--train.num-epochs", 2], "encoder"),
    "deep_latent": (["--latent-dim", 3, "--hidden-dims", 16, "--train.num-epochs", 2], "encoder"),
    "hmm": (["--num-states", 3], "continuous latent"),
    "autoregressive": (["--hidden-dims", 16, "--train.num-epochs", 2], "continuous latent"),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.long) for name in ("gan", "deep_latent")]
    + ["hmm", "autoregressive"],
)
def test_every_system_is_trained_scored_sampled_and_inferred(run, tmp_path, name):
    args, lacks = OTHERS[name]
    folder = tmp_path / "run"
    done = run("train", name, *args, "--out", folder)
    assert done.code == 0
    assert ("pixels" in done.err) == (name == "gan")
    rows = rows_of(folder)
    is_exact = name in ("hmm", "autoregressive")
    assert {row["kind"] for row in rows} == {"exact" if is_exact else "lower"}
    for row in rows:
        assert row["bits_per_dim"] == pytest.approx(-row["log_prob"] / (64 * np.log(2)))
    done = run("sample", folder, "--num", 4)
    assert done.code == 0
    assert f"no interpolations.png: {name} has no {lacks}\n" in done.err
    if is_exact:
        assert run("infer", folder, "--num-images", 4).code == 0
        (row,) = json.loads((folder / "inference" / "results.json").read_text())["rows"]
        assert row["kind"] == "exact"
    again = run("train", name, *args, "--out", folder)
    assert "is finished" in again.err


def test_the_same_command_again_shows_the_finished_run(run, vae_run):
    before = (vae_run / "metrics.jsonl").read_bytes(), rows_of(vae_run)
    done = run("train", "vae", *TINY, "--out", vae_run)
    assert done.code == 0
    assert "is finished" in done.err
    assert f"next: {console.interpreter()} scripts/sample.py {vae_run}" in done.out
    assert (vae_run / "metrics.jsonl").read_bytes() == before[0]
    assert [row["log_prob"] for row in rows_of(vae_run)] == [row["log_prob"] for row in before[1]]


@pytest.mark.slow
def test_seeds_are_trained_at_once_into_runs_of_their_own(run, vae_run, tmp_path):
    """One table shows their mean and spread, and each goes on as if it had been alone."""
    args = ["vae", *TINY, "--num-seeds", 2, "--out", tmp_path]
    done = run("train", *args)
    assert done.code == 0
    assert "sd over seeds" in done.out
    assert f"next: {console.interpreter()} scripts/sample.py {tmp_path / 'seed-0'}" in done.out
    seeds = [trained.load(tmp_path / f"seed-{seed}") for seed in (0, 1)]
    assert [one.config.train.seed for one in seeds] == [0, 1]
    scores = [
        [row["log_prob"] for row in rows_of(folder)]
        for folder in (vae_run, tmp_path / "seed-0", tmp_path / "seed-1")
    ]
    np.testing.assert_allclose(scores[0], scores[1], rtol=1e-4)
    assert np.min(np.abs(np.subtract(*scores[1:]))) > 1e-3
    mean = np.mean(scores[1:], axis=0)[0]
    assert f"{mean:.3f}" in done.out
    again = run("train", *args)
    assert again.err.count("is finished") == 2


def test_learning_rates_are_trained_at_once_into_runs_of_their_own(run, vae_run, tmp_path):
    args = ["vae", *TINY, "--learning-rates", "1e-3", "1e-4", "--out", tmp_path]
    done = run("train", *args)
    assert done.code == 0
    assert "learning rate 0.0001" in done.out
    assert "sd over seeds" not in done.out
    rates = [trained.load(tmp_path / f"rate-{rate}").config for rate in ("0.001", "0.0001")]
    assert [one.train.learning_rate for one in rates] == [1e-3, 1e-4]
    scores = [
        [row["log_prob"] for row in rows_of(folder)]
        for folder in (vae_run, tmp_path / "rate-0.001", tmp_path / "rate-0.0001")
    ]
    np.testing.assert_allclose(scores[0], scores[1], rtol=1e-4)
    assert np.min(np.abs(np.subtract(*scores[1:]))) > 1e-2


GREY = "grey.npy"


def test_tensorboard_has_the_epochs(run, tmp_path):
    done = run("train", "vae", *TINY, "--tensorboard", "--out", tmp_path / "run")
    assert done.code == 0
    (events,) = (tmp_path / "run" / "tensorboard").iterdir()
    assert events.read_bytes().count(b"objective/validation") == 3
    assert "images/s" in done.err


def test_a_run_that_stopped_early_says_why(run, tmp_path):
    options = ["--train.patience", 1, "--train.learning-rate", 0.3, "--train.num-epochs", 40]
    done = run("train", "vae", *TINY[:4], *options, "--out", tmp_path / "run")
    assert done.code == 0
    progress = trained.load(tmp_path / "run").progress
    epoch, best = int(progress.epoch), int(progress.best_epoch)
    assert epoch < 40
    line = f"stopped after epoch {epoch}, 1 without a better validation objective; that of epoch"
    assert f"{line} {best} is kept" in done.err


def test_progress_tells_the_elbo_of_an_objective_that_is_another():
    of_epoch = EpochReport(2, {"objective": -9.0}, {}, True, 0.5, 40, 1234.5, None)
    validation = {"objective": -8.0, "elbo": -8.0, "kl": 3.0}
    note = load_script("train").note
    plain, iwae = (
        note([None, of_epoch._replace(validation=validation | {"objective": objective})])
        for objective in (-8.0, -7.5)
    )
    rest = "KL 3.00 nats, step 40, 1,234 images/s (1 runs)"
    assert plain == f"train -9.00, validation -8.00, {rest}"
    assert iwae == f"train -9.00, validation -7.50, ELBO -8.00, {rest}"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["vae", "--data.name", "nope"], "unknown data set 'nope'"),
        (["vae", "--data.name", "missing.npz"], "missing.npz: no such file"),
        (["vae", "--data.name", GREY], "pixels from 255 to 255, expected floats in [0, 1]"),
        (["ppca"], "ppca on a bernoulli head: expected observation gaussian"),
        (["vae", "--train.batch-size", "2000"], "batch_size is 2000"),
        (["vae", "--learning-rates", "-1"], "learning_rate is -1"),
        (["vae", "--learning-rates", "1e-3", "1e-3"], "expected each only once"),
        (["vae", "--num-seeds", "0"], "num_seeds is 0: expected at least 1"),
        (["vae", "--train.num-epochs", "0"], "num_epochs is 0: expected at least 1"),
        (["vae", *TINY, "--train.learning-rate", "1e38"], "is not finite"),
        (["mixture", "--num-components", "5000"], "num_components is 5000"),
        (["ppca", "--latent-dim", "64", "--data.observation", "gaussian"], "latent_dim is 64"),
    ],
)
def test_what_cannot_be_trained_is_one_line_and_no_folder(
    refused, tmp_path, monkeypatch, args, message
):
    monkeypatch.chdir(tmp_path)
    np.save(GREY, np.full((20, 4, 4), 255.0))
    assert message in refused("train", *args, "--out", "run")
    assert not (tmp_path / "run").exists()


def test_a_folder_of_another_run_is_left_alone(refused, vae_run):
    assert "belongs to another run" in refused("train", "iwae", "--out", vae_run)
    assert runs.read_run(vae_run).system == "vae"


def test_an_overwrite_that_fails_leaves_the_old_run(refused, vae_run):
    args = ["vae", "--train.batch-size", "2000", "--overwrite", "--out", vae_run]
    assert "batch_size is 2000" in refused("train", *args)
    assert trained.load(vae_run).is_finished


def test_a_run_that_met_nan_leaves_the_report_of_the_other(run, tmp_path):
    args = ["vae", *TINY, "--learning-rates", "1e-3", "1e30", "--out", tmp_path]
    done = run("train", *args)
    assert done.code == console.USAGE
    last = done.err.splitlines()[-1]
    assert "rate-1e+30: epoch 1, step" in last
    assert "nothing is kept" in last
    assert [path.parent.name for path in tmp_path.rglob("report.html")] == ["rate-0.001"]
    assert "rate-0.001" in done.out


def test_an_overwrite_that_met_nan_shows_no_older_run(run, tmp_path):
    assert run("train", "vae", *TINY, "--out", tmp_path).code == 0
    done = run(
        "train", "vae", *TINY, "--train.learning-rate", "1e30", "--overwrite", "--out", tmp_path
    )
    assert done.code == console.USAGE
    assert done.out == ""
