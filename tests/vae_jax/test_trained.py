"""Runs on the disk: stopped and continued they are the unbroken run, and they trust no file."""

import dataclasses
import os
import shutil
import signal
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bayes_jax.errors import InputError
from vae_jax import checkpoints, runs, systems, trained, training
from vae_jax.configs import (
    DataConfig,
    FactorAnalysisConfig,
    MixtureConfig,
    MixtureOfFactorAnalysersConfig,
    ObservationSpec,
    PPCAConfig,
    TrainConfig,
    VAEConfig,
)
from vae_jax.data import arrays
from vae_jax.data.kinds import kind_of
from vae_jax.interruption import Interrupted, deferred
from vae_jax.runs import CHECKPOINTS, RunConfig
from vae_jax.trained import recording


class Killed(Exception):
    """Stands for a kill in the middle of a run."""


@pytest.fixture(scope="module")
def images_file(tmp_path_factory):
    """60 binary images of 4 x 5 pixels."""
    path = tmp_path_factory.mktemp("data") / "images.npy"
    np.save(path, np.random.default_rng(0).random((60, 4, 5)) < 0.3)
    return path


@pytest.fixture(scope="module")
def config(images_file):
    train = TrainConfig(num_epochs=5, batch_size=2, learning_rate=0.03)
    return RunConfig("vae", VAEConfig(2, (8,)), train, DataConfig(str(images_file)))


@pytest.fixture(scope="module")
def dataset(config):
    return arrays.load(config.data)


@pytest.fixture(scope="module")
def unbroken(config, dataset, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "unbroken"
    run = trained.train(trained.prepare(folder, config, dataset))
    assert run.progress.best_epoch < 3  # so that the best state is none of the last
    return run


def assert_same_run(run, unbroken):
    jax.tree.map(np.testing.assert_array_equal, run.progress, unbroken.progress)

    def metrics(run):
        return [
            {**row, "seconds": None, "images_per_second": None}
            for row in runs.read_metrics(run.folder)
        ]

    assert metrics(run) == metrics(unbroken)
    assert [row["epoch"] for row in metrics(run)] == [1, 2, 3, 4, 5]


def killed_at(epoch):
    def on_epoch(report):
        if report.epoch == epoch:
            raise Killed

    return on_epoch


def leave_killed(folder, config, dataset, *, epoch):
    """What a run leaves that saved every epoch and died in this one."""
    with pytest.raises(Killed):
        trained.train(
            trained.prepare(folder, config, dataset),
            on_epoch=killed_at(epoch),
            seconds_between_checkpoints=0.0,
        )


# --- going on ------------------------------------------------------------------------------------


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


# --- what is restored ----------------------------------------------------------------------------


def test_the_loaded_model_is_the_best_one_of_the_loop(config, dataset, unbroken):
    key = jax.random.key(config.train.seed)
    result = training.fit(key, unbroken.system, dataset.train, dataset.validation, config.train)
    jax.tree.map(np.testing.assert_array_equal, unbroken.progress.best_state, result.state)
    x = jnp.asarray(dataset.test[0], jnp.float32)
    fresh = unbroken.system.generative(result.state).guide(x).mean
    np.testing.assert_array_equal(unbroken.generative.guide(x).mean, fresh)
    assert unbroken.seen.shape == (4, 5)


EXACT = [
    ("mixture", MixtureConfig(2), "bernoulli"),
    ("mixture", MixtureConfig(2), "gaussian"),
    ("ppca", PPCAConfig(2), "gaussian"),
    ("factor_analysis", FactorAnalysisConfig(2), "gaussian"),
    ("mixture_of_factor_analysers", MixtureOfFactorAnalysersConfig(2, 2), "gaussian"),
]


@pytest.mark.parametrize(("name", "system_config", "head"), EXACT)
def test_exact_systems_begin_with_the_shapes_they_end_with(name, system_config, head):
    x = np.random.default_rng(1).random((30, 6)).astype(np.float32)
    x = x if head == "gaussian" else (x < 0.5).astype(np.float32)
    system = systems.build(name, system_config, ObservationSpec(6, head))
    fitted = system.fit(jax.random.key(0), x)
    start = jax.eval_shape(system.init, jax.random.key(0), x)

    def described(tree):
        return jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), tree)

    assert described(start) == described(fitted)


def test_an_exact_run_comes_back_as_it_was_fitted(config, dataset, tmp_path):
    exact = config._replace(system="mixture", config=MixtureConfig(2))
    run = trained.train(trained.prepare(tmp_path, exact, dataset))
    key = jax.random.split(jax.random.key(0), 3)[0]
    fitted = run.system.fit(key, dataset.train.astype(np.float32))
    jax.tree.map(np.testing.assert_array_equal, run.progress.best_state, fitted)
    assert run.is_finished
    assert trained.prepare(tmp_path, exact, dataset).is_finished


# --- what is refused -----------------------------------------------------------------------------


def test_a_folder_that_is_no_run(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        trained.load(tmp_path / "none")
    with pytest.raises(InputError, match=r"has no config\.json"):
        trained.load(tmp_path)


def test_a_damaged_checkpoint_is_named(config, dataset, tmp_path):
    trained.train(trained.prepare(tmp_path, config, dataset))
    files = [path for path in (tmp_path / CHECKPOINTS / "5" / "state").rglob("*") if path.is_file()]
    largest = max(files, key=lambda path: path.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 1
    largest.write_bytes(content)
    for use in (trained.load, lambda folder: trained.prepare(folder, config, dataset)):
        with pytest.raises(InputError, match="is damaged"):
            use(tmp_path)


@pytest.mark.parametrize(
    ("edit", "part"),
    [
        (lambda content: content["images"]["spec"].update(min_variance=2e-4), "images"),
        (lambda content: content["images"]["spec"].update(head="continuous_bernoulli"), "images"),
        (lambda content: content["train"].update(seed=1), "config"),
        (lambda content: content["data"].update(seed=1), "config"),
    ],
    ids=["min_variance", "head", "train.seed", "data.seed"],
)
def test_a_config_that_changed_since_the_checkpoint_is_refused(unbroken, tmp_path, edit, part):
    folder = shutil.copytree(unbroken.folder, tmp_path / "run")
    content = runs.read_config(folder)
    edit(content)
    runs.write_json(folder / "config.json", content)
    with pytest.raises(InputError, match=rf"5 was saved beside another {part} than .*config\.json"):
        trained.load(folder)


def test_a_checkpoint_of_another_run_is_refused(config, dataset, unbroken, tmp_path):
    other = config._replace(train=dataclasses.replace(config.train, seed=1))
    trained.train(trained.prepare(tmp_path, other, dataset))
    shutil.rmtree(tmp_path / CHECKPOINTS)
    shutil.copytree(unbroken.folder / CHECKPOINTS, tmp_path / CHECKPOINTS)
    for use in (trained.load, lambda folder: trained.prepare(folder, other, dataset)):
        with pytest.raises(InputError, match="was saved beside another config"):
            use(tmp_path)


@pytest.mark.parametrize("about", [{}, {"config": "as it was"}])
def test_older_checkpoints_that_say_less_are_read(config, unbroken, tmp_path, about):
    folder = shutil.copytree(unbroken.folder, tmp_path / "run")
    about = {part: runs.config_hash(config) for part in about}
    checkpoints.save(folder / CHECKPOINTS, 5, unbroken.progress, about=about)
    assert trained.load(folder).is_finished


def test_a_run_made_by_something_else_has_no_images(unbroken, tmp_path):
    content = runs.read_config(unbroken.folder)
    del content["images"]
    runs.write_json(tmp_path / "config.json", content)
    with pytest.raises(InputError, match="images is None"):
        trained.load(tmp_path)


def test_images_that_changed_since_are_refused(config, dataset, unbroken, images_file, tmp_path):
    original = images_file.read_bytes()
    assert kind_of(config.data).describe(trained.load_data(unbroken)) == unbroken.seen
    try:
        np.save(images_file, np.random.default_rng(1).random((60, 4, 5)) < 0.3)
        with pytest.raises(InputError, match="holds other images now"):
            trained.load_data(unbroken)
        with pytest.raises(InputError, match=r"belongs to another run \(images.sha256"):
            trained.prepare(unbroken.folder, config, arrays.load(config.data))
        np.save(images_file, np.zeros((60, 5, 4), bool))
        with pytest.raises(InputError, match=r"are 5 x 4 pixels, those of the run .* 4 x 5"):
            trained.load_data(unbroken)
    finally:
        images_file.write_bytes(original)


def test_other_images_of_the_same_size_are_welcome(unbroken, tmp_path):
    np.save(tmp_path / "others.npy", np.ones((20, 4, 5), bool))
    found = trained.load_data(unbroken, name=str(tmp_path / "others.npy"))
    assert found.test.shape == (4, 20)
    with pytest.raises(InputError, match="images of digits are 8 x 8 pixels"):
        trained.load_data(unbroken, name="digits")


def test_nothing_is_written_before_the_first_epoch_is_done(config, dataset, tmp_path):
    greedy = config._replace(train=dataclasses.replace(config.train, batch_size=100))
    with pytest.raises(InputError, match="batch_size is 100"):
        trained.train(trained.prepare(tmp_path / "new", greedy, dataset))
    assert not (tmp_path / "new").exists()


# --- seeds together ------------------------------------------------------------------------------


def of_seeds(config, folder, dataset, **changes):
    loop = dataclasses.replace(config.train, **changes)
    return [
        trained.prepare(
            folder / str(seed),
            config._replace(train=dataclasses.replace(loop, seed=seed)),
            dataset,
        )
        for seed in range(3)
    ]


def test_seeds_killed_after_one_has_stopped_go_on_bit_by_bit(config, dataset, tmp_path):
    patient = {"num_epochs": 30, "patience": 1, "learning_rate": 0.03}
    unbroken = trained.train_together(of_seeds(config, tmp_path / "unbroken", dataset, **patient))
    ends = sorted(int(run.progress.epoch) for run in unbroken)
    assert ends[0] < ends[-1]

    def kill(reports):
        if any(report is None for report in reports):
            raise Killed

    with pytest.raises(Killed):
        trained.train_together(
            of_seeds(config, tmp_path / "killed", dataset, **patient),
            on_epoch=kill,
            seconds_between_checkpoints=0.0,
        )
    jobs = of_seeds(config, tmp_path / "killed", dataset, **patient)
    assert any(job.is_finished for job in jobs)
    for run, other in zip(trained.train_together(jobs), unbroken, strict=True):
        jax.tree.map(np.testing.assert_array_equal, run.progress, other.progress)
        assert len(runs.read_metrics(run.folder)) == len(runs.read_metrics(other.folder))


def test_a_run_inside_of_another_is_refused(config, dataset, unbroken):
    with pytest.raises(InputError, match="lies inside the run"):
        trained.prepare(unbroken.folder / "seed-0", config, dataset)
