"""Runs about to be trained: what a config asks for, and where an earlier call stopped."""

import dataclasses
from pathlib import Path
from typing import NamedTuple

from vae_jax import checkpoints, runs, systems
from vae_jax.data.dataset import Dataset
from vae_jax.data.kinds import kind_of
from vae_jax.data.text import TextDataset
from vae_jax.records import sweep, to_plain
from vae_jax.resumption.leaves import digest
from vae_jax.runs import CHECKPOINTS, METRICS, RunConfig
from vae_jax.sharding import processes
from vae_jax.systems.base import System, observing
from vae_jax.trained import saved
from vae_jax.training import Progress


class Job(NamedTuple):
    """A run about to be trained.

    Attributes:
        folder: where it goes.
        config: what makes it.
        dataset: its data.
        system: built for them.
        progress: where an earlier call stopped; None for a new run.
        overwrite: replace the run that is in the folder.
        damaged: newer checkpoints -> why they are not it.
        belongs: what its checkpoints are of: parts of config.json, as hashes.
        num_recorded: epochs done that metrics.jsonl has.
    """

    folder: Path
    config: RunConfig
    dataset: Dataset | TextDataset
    system: System
    progress: Progress | None
    overwrite: bool
    damaged: dict[int, str]
    belongs: dict[str, str]
    num_recorded: int

    @property
    def content(self) -> dict:
        """Of its config.json, what the run alone decides."""
        return _content(self.config, self.dataset)

    @property
    def num_epochs_done(self) -> int:
        """Epochs that need not be trained again."""
        return 0 if self.progress is None else int(self.progress.epoch)

    @property
    def is_finished(self) -> bool:
        """Whether nothing is left to train."""
        return self.progress is not None and saved.is_finished(
            self.system, self.progress, self.config
        )

    @property
    def warnings(self) -> list[str]:
        """What a person who goes on with it should know, one line each."""
        lines = list(self.damaged.values())
        if self.num_recorded < self.num_epochs_done:
            lines += [
                f"{self.folder / METRICS} has {self.num_recorded} of the {self.num_epochs_done} "
                "epochs that are done: the curve will lack the others"
            ]
        return lines


def prepare(
    folder: str | Path,
    config: RunConfig,
    dataset: Dataset | TextDataset,
    *,
    overwrite: bool = False,
) -> Job:
    """Build what a config asks for, and find where an earlier call stopped.

    It writes nothing, but tidies up after a call that was killed.

    Args:
        folder: new, empty, or of a run with the same config.
        config: what to train.
        dataset: what `config.data` loads.
        overwrite: begin anew, whatever run is in the folder.

    Returns:
        What `train` takes.

    Raises:
        InputError: a folder of another run, a system that does not fit the data, no checkpoint
            that is intact, one of another run, damaged metrics, processes whose configs, data or
            checkpoints differ.
    """
    folder = Path(folder).absolute()
    system = observing(systems.build(config.system, config.config, dataset.spec), dataset.observe)
    processes.check_alike(lambda: _shared(config, dataset))
    content, name = _content(config, dataset), kind_of(config.data).name
    goes_on = runs.check(folder, content, overwrite=overwrite)
    belongs = saved.belongs_to(runs.read_config(folder) if goes_on else content, name)
    progress, damaged, num_recorded = None, {}, 0
    if goes_on:
        if processes.is_first():
            checkpoints.sweep(folder / CHECKPOINTS)
            sweep(folder)
        processes.wait_for_all("swept")
        seen = kind_of(config.data).describe(dataset)
        progress, damaged = saved.restore(folder, system, seen, belongs)
        num_recorded = runs.count_epochs(folder, 0 if progress is None else int(progress.epoch))
    job = Job(folder, config, dataset, system, progress, overwrite, damaged, belongs, num_recorded)
    # Nothing is written before all have looked.
    processes.check_same(job.num_epochs_done, f"the last checkpoint of {folder}")
    return job


def _shared(config: RunConfig, dataset: Dataset | TextDataset) -> dict:
    """What is the same in all processes; the data may lie in another folder for each."""
    data = dataclasses.replace(config.data, data_dir=None)
    splits = (dataset.train, dataset.validation, dataset.test)
    return {"config": config._replace(data=data), "data": digest(splits)}


def _content(config: RunConfig, dataset: Dataset | TextDataset) -> dict:
    kind = kind_of(config.data)
    return {**to_plain(config), kind.name: to_plain(kind.describe(dataset))}
