"""Stopped and continued, a run is the unbroken one; what lies in its folder is told."""

import dataclasses
import os
import shutil
import signal
import time

import jax
import numpy as np
import pytest

from bayes_jax.errors import InputError
from vae_jax import checkpoints, runs, trained, training
from vae_jax.interruption import Interrupted, deferred
from vae_jax.runs import CHECKPOINTS
from vae_jax.trained import recording

from .conftest import Killed, assert_same_run, killed_at, leave_killed


def test_a_killed_run_goes_on_as_if_it_had_not_been(config, dataset, unbroken, tmp_path):
    job = trained.prepare(tmp_path, config, dataset)
    with pytest.raises(Killed):
        trained.train(job, on_epoch=killed_at(4), seconds_between_checkpoints=0.0)
    # Killed after the metrics of epoch 4 and in the middle of its checkpoint.
    (tmp_path / CHECKPOINTS / "4").rename(tmp_path / CHECKPOINTS / ".writing-4")
    stopped = trained.load(tmp_path)
    assert int(stopped.progress.epoch) == 3
    assert not stopped.is_finished
    job = trained.prepare(tmp_path, config, dataset)
    assert job.num_epochs_done == 3
    epochs = []
    run = trained.train(job, on_epoch=lambda report: epochs.append(report.epoch))
    assert epochs == [4, 5]
    assert_same_run(run, unbroken)


def test_a_run_killed_before_its_first_checkpoint_begins_anew(config, dataset, unbroken, tmp_path):
    with pytest.raises(Killed):
        trained.train(trained.prepare(tmp_path, config, dataset), on_epoch=killed_at(2))
    with pytest.raises(
        InputError, match=r"holds no checkpoint yet: run its train\.py command again"
    ):
        trained.load(tmp_path)
    job = trained.prepare(tmp_path, config, dataset)
    assert job.num_epochs_done == 0
    assert_same_run(trained.train(job), unbroken)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_a_run_after_its_epoch(config, dataset, unbroken, tmp_path, number):
    handlers = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]

    def on_epoch(report):
        if report.epoch == 2:
            os.kill(os.getpid(), number)
            time.sleep(0.01)  # Python's handlers run between two of its instructions.

    with pytest.raises(Interrupted, match=f"stopped by {number.name}: epoch 2 is saved") as stop:
        trained.train(trained.prepare(tmp_path, config, dataset), on_epoch=on_epoch)
    assert stop.value.signal == number
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == handlers
    job = trained.prepare(tmp_path, config, dataset)
    assert job.num_epochs_done == 2
    assert_same_run(trained.train(job), unbroken)


@pytest.fixture
def ctrl_c():
    """Ctrl-C as in a script; a worker of pytest-xdist may ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield lambda: (os.kill(os.getpid(), signal.SIGINT), time.sleep(0.01))
    signal.signal(signal.SIGINT, before)


def test_the_second_signal_stops_at_once(ctrl_c):
    def ask_twice():
        with deferred() as asked_to_stop:
            assert asked_to_stop() is None
            ctrl_c()
            assert asked_to_stop() == signal.SIGINT
            ctrl_c()
            raise AssertionError("not stopped")

    with pytest.raises(KeyboardInterrupt):
        ask_twice()


def test_a_signal_that_nobody_acted_on_is_obeyed_at_the_end(ctrl_c):
    done = []

    def ask():
        with deferred():
            ctrl_c()
            done.append("all of it")

    with pytest.raises(KeyboardInterrupt):
        ask()
    assert done == ["all of it"]


def test_a_damaged_checkpoint_is_passed_over_and_named(config, dataset, unbroken, tmp_path):
    leave_killed(tmp_path, config, dataset, epoch=4)
    newest = tmp_path / CHECKPOINTS / "4"
    manifest = newest / checkpoints.MANIFEST
    manifest.write_bytes(manifest.read_bytes()[:-9])
    run = trained.load(tmp_path)
    assert int(run.progress.epoch) == 3
    assert [str(newest) in line for line in run.warnings] == [True, False]
    assert "stopped at epoch 3" in run.warnings[1]
    job = trained.prepare(tmp_path, config, dataset)
    assert (job.num_epochs_done, {*job.damaged}) == (3, {4})
    assert job.warnings == [*job.damaged.values()]
    run = trained.train(job)
    assert run.warnings == []
    assert_same_run(run, unbroken)


def test_metrics_are_on_the_disk_before_the_checkpoint(config, dataset, tmp_path, monkeypatch):
    on_disk, saved, save = {}, [], checkpoints.save

    def watched(folder, step, *args, **options):
        saved.append((step, len(on_disk[tmp_path / runs.METRICS].splitlines())))
        return save(folder, step, *args, **options)

    def sync(path):
        on_disk[path] = path.read_bytes()

    monkeypatch.setattr(recording, "sync", sync)
    monkeypatch.setattr(checkpoints, "save", watched)
    job = trained.prepare(tmp_path, config, dataset)
    trained.train(job, seconds_between_checkpoints=0.0)
    assert saved[:2] == [(1, 1), (2, 2)]
    assert saved[-1] == (5, 5)


def test_metrics_that_a_power_cut_tore_are_told_and_mended(config, dataset, unbroken, tmp_path):
    leave_killed(tmp_path, config, dataset, epoch=3)
    path = tmp_path / runs.METRICS
    path.write_bytes(path.read_bytes()[:-9])  # the line of epoch 3, of which there is a checkpoint
    job = trained.prepare(tmp_path, config, dataset)
    assert job.warnings == [
        f"{path} has 2 of the 3 epochs that are done: the curve will lack the others"
    ]
    run = trained.train(job)
    jax.tree.map(np.testing.assert_array_equal, run.progress, unbroken.progress)
    assert [row["epoch"] for row in runs.read_metrics(tmp_path)] == [1, 2, 4, 5]


@pytest.mark.parametrize("has_checkpoint", [True, False])
def test_damaged_metrics_are_named_before_anything_is_trained(
    config, dataset, unbroken, tmp_path, has_checkpoint
):
    folder = shutil.copytree(unbroken.folder, tmp_path / "run")
    with (folder / runs.METRICS).open("ab") as file:
        file.write(b"?\n")
    if not has_checkpoint:
        shutil.rmtree(folder / CHECKPOINTS)
    with pytest.raises(InputError, match=r"metrics\.jsonl:6: damaged line"):
        trained.prepare(folder, config, dataset)


def test_a_finished_run_is_left_as_it_is(config, dataset, unbroken):
    files = {path: path.stat().st_mtime_ns for path in unbroken.folder.rglob("*")}
    job = trained.prepare(unbroken.folder, config, dataset)
    assert job.is_finished
    assert_same_run(trained.train(job, on_epoch=killed_at(1)), unbroken)
    assert files == {path: path.stat().st_mtime_ns for path in unbroken.folder.rglob("*")}


def test_a_report_that_was_half_written_is_swept(config, dataset, unbroken, tmp_path):
    folder = shutil.copytree(unbroken.folder, tmp_path / "run")
    (folder / ".report.html.x1y2z3w4").write_text("<html>")
    assert trained.prepare(folder, config, dataset).is_finished
    assert [*folder.glob(".*")] == []


def test_overwrite_begins_anew(config, dataset, unbroken, tmp_path):
    trained.train(trained.prepare(tmp_path, config, dataset))
    other = config._replace(train=dataclasses.replace(config.train, seed=1))
    with pytest.raises(InputError, match="belongs to another run"):
        trained.prepare(tmp_path, other, dataset)
    job = trained.prepare(tmp_path, other, dataset, overwrite=True)
    assert job.progress is None
    run = trained.train(job)
    assert run.config == other
    assert len(runs.read_metrics(tmp_path)) == 5
    kernels = (jax.tree.leaves(run.progress.best_state.params)[1] for run in (run, unbroken))
    assert not np.array_equal(*kernels)


def test_a_run_that_met_nan_keeps_its_last_good_epoch_and_can_go_on(
    config, dataset, unbroken, tmp_path, monkeypatch
):
    faults = training.fitting._faults

    def faults_of_epoch_four(progress, active, is_good, *means):
        return faults(progress, active, is_good & (progress.epoch + 1 != 4), *means)

    with monkeypatch.context() as patch:
        patch.setattr(training.fitting, "_faults", faults_of_epoch_four)
        with pytest.raises(training.NonFiniteError):
            trained.train(trained.prepare(tmp_path, config, dataset))
    kept = trained.load(tmp_path)
    best = [row["epoch"] for row in runs.read_metrics(tmp_path) if row["is_best"]][-1]
    assert (int(kept.progress.epoch), int(kept.progress.best_epoch)) == (3, best)
    assert_same_run(trained.train(trained.prepare(tmp_path, config, dataset)), unbroken)


def test_checkpoints_are_kept_two_at_a_time(config, dataset, tmp_path):
    trained.train(trained.prepare(tmp_path, config, dataset), seconds_between_checkpoints=0.0)
    assert sorted(path.name for path in (tmp_path / CHECKPOINTS).iterdir()) == ["4", "5"]


def test_other_versions_are_told(unbroken, monkeypatch):
    assert trained.changed_versions(unbroken.folder) == {}
    now = {**runs.versions(), "jax": "0.0", "git": "other"}
    monkeypatch.setattr(runs, "versions", lambda: now)
    assert trained.changed_versions(unbroken.folder) == {"jax": (jax.__version__, "0.0")}
    assert {*trained.changed_versions(unbroken.folder, with_commit=True)} == {"jax", "git"}
