"""A run as its newest checkpoint has it, and the data it saw."""

import dataclasses
from pathlib import Path
from typing import NamedTuple

from bayes_jax.errors import InputError
from bayes_jax.model import GenerativeModel
from vae_jax import runs, systems
from vae_jax.data.dataset import Dataset
from vae_jax.data.kinds import Record, kind_of
from vae_jax.data.text import TextDataset
from vae_jax.records import from_dict
from vae_jax.runs import RunConfig
from vae_jax.systems.base import System
from vae_jax.trained import saved
from vae_jax.training import Progress


class TrainedRun(NamedTuple):
    """A run as its newest checkpoint has it.

    Attributes:
        folder: of the run.
        config: what made it.
        seen: the data it saw.
        system: built for that.
        progress: how far training came.
        generative: the model at the best validation objective.
        damaged: newer checkpoints -> why they are not it.
    """

    folder: Path
    config: RunConfig
    seen: Record
    system: System
    progress: Progress
    generative: GenerativeModel
    damaged: dict[int, str]

    @property
    def is_finished(self) -> bool:
        """Whether training came to its end."""
        return saved.is_finished(self.system, self.progress, self.config)

    @property
    def warnings(self) -> list[str]:
        """What a person who uses it should know, one line each."""
        lines = list(self.damaged.values())
        if not self.is_finished:
            lines += [f"{self.folder} stopped at epoch {int(self.progress.epoch)}: its best so far"]
        return lines


def load(folder: str | Path, *, script: str | None = None) -> TrainedRun:
    """Load a run as its newest checkpoint has it, through a system built anew.

    Args:
        folder: the run's.
        script: that will use it, which not every kind of data allows.

    Returns:
        The run.

    Raises:
        InputError: no run folder, no checkpoint yet, or none that is intact; a checkpoint of
            another config.json; a run that is nothing for the script.
    """
    folder = Path(folder).absolute()
    config = runs.read_run(folder)
    kind = kind_of(config.data)
    if script:
        kind.check_script(script, folder)
    content = runs.read_config(folder)
    seen = from_dict(kind.record, content.get(kind.name), name=kind.name)
    system = systems.build(config.system, config.config, seen.spec)
    progress, damaged = saved.restore(folder, system, seen, saved.belongs_to(content, kind.name))
    if progress is None:
        raise InputError(f"{folder} holds no checkpoint yet: run its train.py command again")
    generative = system.generative(progress.best_state)
    return TrainedRun(folder, config, seen, system, progress, generative, damaged)


def load_data(
    run: TrainedRun, *, name: str | None = None, data_dir: str | None = None
) -> Dataset | TextDataset:
    """The data of a run, or others of its kind.

    Args:
        run: the run.
        name: other data, by name or path; those of the run if None.
        data_dir: where data sets lie now; where they lay for the run if None.

    Returns:
        The data set, seen as the run sees data (images by its head, sentences by its vocabulary),
        split by its data seed.

    Raises:
        InputError: data that cannot be loaded, images of another size, tokens that the vocabulary
            lacks, or other data than those of the run under the run's own name.
    """
    changes = {"name": name, "data_dir": data_dir}
    changes = {field: value for field, value in changes.items() if value is not None}
    kind = kind_of(run.config.data)
    if name is not None:
        changes |= kind.of_its_own
    config = dataclasses.replace(run.config.data, **changes)
    dataset = kind.load_like(config, run.seen)
    if name is None and kind.describe(dataset) != run.seen:
        raise InputError(
            f"{config.name} holds other {kind.noun} now than when {run.folder} was trained: "
            "expected the same file, for a test split that was not trained on"
        )
    return dataset


def changed_versions(folder: str | Path, *, with_commit: bool = False) -> dict[str, tuple]:
    """What is not as it was when a run began, so that going on is no longer bit by bit.

    Args:
        folder: of the run.
        with_commit: the commit too, where finished results stand beside new ones.

    Returns:
        Name -> (then, now).
    """
    then, now = runs.read_config(folder).get("versions", {}), runs.versions()
    return {
        name: (then.get(name), value)
        for name, value in now.items()
        if (with_commit or name != "git") and then.get(name, value) != value
    }
