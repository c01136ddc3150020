"""What tests of runs on the disk share: a small run that was not stopped, and ones that were."""

import jax
import numpy as np
import pytest

from vae_jax import runs, trained
from vae_jax.configs import (
    DataConfig,
    TrainConfig,
    VAEConfig,
)
from vae_jax.data import arrays
from vae_jax.runs import RunConfig


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
