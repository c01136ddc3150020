"""Seeds that are trained together, and folders that are none of theirs."""

import dataclasses

import jax
import numpy as np
import pytest

from bayes_jax.errors import InputError
from vae_jax import runs, trained

from .conftest import Killed


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
