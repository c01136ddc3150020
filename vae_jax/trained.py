"""Training runs on the disk: begin one, go on where it stopped, load what it became.

A run folder is written from the first finished epoch on: input that cannot be trained on leaves no
trace. Its checkpoints hold the loop's `Progress`, so that one file serves resuming and using. Of
several processes the first alone writes; all read what it wrote.
"""

import contextlib
import dataclasses
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from bayes_jax.errors import InputError
from bayes_jax.model import GenerativeModel
from vae_jax import checkpoints, runs, systems, training
from vae_jax.data.dataset import Dataset
from vae_jax.data.kinds import Record, kind_of
from vae_jax.data.text import TextDataset
from vae_jax.interruption import Interrupted, deferred
from vae_jax.records import config_hash, from_dict, sweep, sync, to_plain
from vae_jax.resumption.leaves import digest
from vae_jax.runs import CHECKPOINTS, CONFIG, METRICS, RunConfig
from vae_jax.sharding import processes
from vae_jax.systems.base import System, observing, training_data
from vae_jax.training import EpochReport, NonFiniteError, Progress

SECONDS_BETWEEN_CHECKPOINTS = 20.0
"""A killed run loses at most this much work, and an epoch."""

NUM_KEPT_CHECKPOINTS = 2


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
    def num_epochs_done(self) -> int:
        """Epochs that need not be trained again."""
        return 0 if self.progress is None else int(self.progress.epoch)

    @property
    def is_finished(self) -> bool:
        """Whether nothing is left to train."""
        return self.progress is not None and _is_finished(self.system, self.progress, self.config)

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
        return _is_finished(self.system, self.progress, self.config)

    @property
    def warnings(self) -> list[str]:
        """What a person who uses it should know, one line each."""
        lines = list(self.damaged.values())
        if not self.is_finished:
            lines += [f"{self.folder} stopped at epoch {int(self.progress.epoch)}: its best so far"]
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
    belongs = _belongs(runs.read_config(folder) if goes_on else content, name)
    progress, damaged, num_recorded = None, {}, 0
    if goes_on:
        if processes.is_first():
            checkpoints.sweep(folder / CHECKPOINTS)
            sweep(folder)
        processes.wait_for_all("swept")
        seen = kind_of(config.data).describe(dataset)
        progress, damaged = _restore(folder, system, seen, belongs)
        num_recorded = runs.count_epochs(folder, 0 if progress is None else int(progress.epoch))
    job = Job(folder, config, dataset, system, progress, overwrite, damaged, belongs, num_recorded)
    # Nothing is written before all have looked.
    processes.check_same(job.num_epochs_done, f"the last checkpoint of {folder}")
    return job


def train(
    job: Job, *, on_epoch: Callable[[EpochReport], None] | None = None, **options
) -> TrainedRun:
    """`train_together` of one job; `on_epoch` takes its report."""
    reports = on_epoch and (lambda reports: on_epoch(reports[0]))
    (run,) = train_together([job], on_epoch=reports, **options)
    return run


def train_together(
    jobs: Sequence[Job],
    *,
    on_epoch: Callable[[tuple[EpochReport | None, ...]], None] | None = None,
    seconds_between_checkpoints: float = SECONDS_BETWEEN_CHECKPOINTS,
    debug_nans: bool = False,
) -> list[TrainedRun]:
    """Train to the end what `prepare` found, into the folders; finished runs are left as they are.

    A run that was stopped and goes on ends in the params of one that was not, bit by bit on the
    same machine and with the same jobs beside it. SIGINT and SIGTERM end it after the epoch that is
    running.

    Args:
        jobs: from `prepare`; they differ in folder, seed and learning rate alone.
        on_epoch: called after every epoch with a report for each job, None for one that has
            stopped.
        seconds_between_checkpoints: how often the progress is saved besides at the end.
        debug_nans: where training meets NaN, find the operation that made it.

    Returns:
        The runs.

    Raises:
        InputError: data that cannot be trained on; then nothing was written.
        NonFiniteError: training met NaN; the folders hold the last good epochs.
        Interrupted: a signal came; the folders hold the epoch that it came in.
    """
    if not all(job.is_finished for job in jobs):
        _train_jobs(_trained_together(jobs), on_epoch, seconds_between_checkpoints, debug_nans)
    processes.wait_for_all("trained")
    return [load(job.folder) for job in jobs]


def finished(jobs: Sequence[Job], error: NonFiniteError) -> list[TrainedRun]:
    """The runs that came to their end beside those that met NaN.

    Args:
        jobs: as `train_together` took them.
        error: what it raised.
    """
    pairs = enumerate(_trained_together(jobs))
    return [load(job.folder) for index, job in pairs if index not in error.faults]


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
    progress, damaged = _restore(folder, system, seen, _belongs(content, kind.name))
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
        if (with_commit or name != "git") and then.get(name) != value
    }


def _trained_together(jobs: Sequence[Job]) -> Sequence[Job]:
    """Those that are finished stay beside the others: with fewer, the others would round otherwise.

    Of exact fits, which know no others, only those that are to be done.
    """
    return [job for job in jobs if not job.is_finished] if jobs[0].system.fit else jobs


def _train_jobs(jobs, on_epoch, seconds_between, debug_nans) -> None:
    first = jobs[0]
    # An exact fit has no epochs: what stops it loses nothing that could be kept.
    signals = contextlib.nullcontext(lambda: None) if first.system.fit else deferred()
    with signals as asked_to_stop:
        _train_recorded(jobs, on_epoch, seconds_between, asked_to_stop, debug_nans)


def _train_recorded(jobs, on_epoch, seconds_between, asked_to_stop, debug_nans) -> None:
    records = [_recorder(job, seconds_between) for job in jobs]

    def record_all(reports):
        for record, report in zip(records, reports, strict=True):
            if report is not None:
                record(report)
        if on_epoch:
            on_epoch(reports)
        # A signal may reach the processes in different epochs: they stop in the same one.
        if number := processes.largest(asked_to_stop() or 0):
            _stop(jobs, reports, number)

    first = jobs[0]
    try:
        results = training.fit_seeds(
            jnp.stack([jax.random.key(job.config.train.seed) for job in jobs]),
            first.system,
            first.dataset.train,
            first.dataset.validation,
            first.config.train,
            learning_rates=[job.config.train.learning_rate for job in jobs],
            on_epoch=record_all,
            resume_from=[job.progress for job in jobs],
            debug_nans=debug_nans,
        )
    except NonFiniteError as error:
        for job, result in zip(jobs, error.results, strict=True):
            if result.num_epochs > job.num_epochs_done:
                _save(job, result.progress or _exact_progress(result))
        if len(jobs) == 1:
            raise
        lines = [f"{jobs[index].folder}: {fault}" for index, fault in error.faults.items()]
        raise NonFiniteError(error.results, error.faults, "; ".join(lines)) from error
    for job, result in zip(jobs, results, strict=True):
        if not job.is_finished:
            _save(job, result.progress or _exact_progress(result))


def _stop(jobs, reports, number: int) -> None:
    """Save the epoch that has just ended, and raise."""
    for job, report in zip(jobs, reports, strict=True):
        if report is not None:
            _save(job, report.progress())
    epoch = max(report.epoch for report in reports if report is not None)
    without = " without --overwrite" if any(job.overwrite for job in jobs) else ""
    again = f"the same command{without} goes on from there"
    raise Interrupted(number, f"epoch {epoch} is saved, {again}")


def _content(config: RunConfig, dataset: Dataset | TextDataset) -> dict:
    kind = kind_of(config.data)
    return {**to_plain(config), kind.name: to_plain(kind.describe(dataset))}


def _shared(config: RunConfig, dataset: Dataset | TextDataset) -> dict:
    """What is the same in all processes; the data may lie in another folder for each."""
    data = dataclasses.replace(config.data, data_dir=None)
    splits = (dataset.train, dataset.validation, dataset.test)
    return {"config": config._replace(data=data), "data": digest(splits)}


def _recorder(job: Job, seconds_between):
    """Write what an epoch gave; the first one begins the folder."""
    if not processes.is_first():
        return lambda report: None
    first, last_saved = job.num_epochs_done + 1, time.monotonic()

    def record(report: EpochReport) -> None:
        nonlocal last_saved
        if report.epoch == first:
            content = _content(job.config, job.dataset)
            runs.create(job.folder, content, overwrite=job.overwrite)
            runs.rewind_metrics(job.folder, job.num_epochs_done)
        runs.append_metrics(job.folder, report._replace(progress=None)._asdict())
        if report.progress is not None and time.monotonic() - last_saved >= seconds_between:
            _save(job, report.progress())
            last_saved = time.monotonic()

    return record


def _save(job: Job, progress: Progress) -> None:
    if not processes.is_first():
        return
    sync(job.folder / METRICS)  # so that the checkpoint is never ahead of them
    checkpoints.save(
        job.folder / CHECKPOINTS,
        int(progress.epoch),
        progress,
        keep=NUM_KEPT_CHECKPOINTS,
        about={**job.belongs, "versions": runs.versions()},
    )


def _exact_progress(result: training.FitResult) -> Progress:
    objective = np.float32(result.history[-1].validation["objective"])
    return Progress(result.state, result.state, np.int32(1), np.int32(1), objective)


def _restore(
    folder: Path, system: System, seen: Record, belongs: dict[str, str]
) -> tuple[Progress | None, dict[int, str]]:
    """The newest intact checkpoint, None before the first; and what is wrong with newer ones."""
    step, damaged = checkpoints.find(folder / CHECKPOINTS)
    if step is None and not damaged:
        return None, damaged
    if step is not None:
        _check_belongs(folder, step, belongs)
    x = jax.ShapeDtypeStruct((seen.num_train, *seen.spec.event_shape), jnp.float32)
    batch = training_data(system, x)
    abstract = jax.eval_shape(
        lambda key, batch: training.initial_progress(key, system, batch), jax.random.key(0), batch
    )
    return checkpoints.restore(folder / CHECKPOINTS, abstract, step=step), damaged


def _belongs(content: dict, name: str) -> dict[str, str]:
    """Hashes of what the numbers of a run depend on.

    Args:
        content: of config.json.
        name: of the record of its data.
    """
    config = {part: content.get(part) for part in RunConfig._fields}
    return {"config": config_hash(config), name: config_hash(content[name])}


def _check_belongs(folder: Path, step: int, belongs: dict[str, str]) -> None:
    """Refuse a checkpoint of another run; an older one does not say what data it saw."""
    about = checkpoints.recall_about(folder / CHECKPOINTS, step)
    if other := [part for part, digest in belongs.items() if about.get(part, digest) != digest]:
        raise InputError(
            f"{folder / CHECKPOINTS / str(step)} was saved beside another {' and '.join(other)} "
            f"than {folder / CONFIG} holds: put that file back, or train anew with --overwrite"
        )


def _is_finished(system: System, progress: Progress, config: RunConfig) -> bool:
    return system.fit is not None or training.is_finished(progress, config.train)
