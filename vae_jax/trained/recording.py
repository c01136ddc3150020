"""Training that writes its run folders: metrics of every epoch, checkpoints on the way."""

import contextlib
import time
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from vae_jax import checkpoints, runs, training
from vae_jax.interruption import Interrupted, deferred
from vae_jax.records import sync
from vae_jax.runs import CHECKPOINTS, METRICS
from vae_jax.sharding import processes
from vae_jax.trained.jobs import Job
from vae_jax.trained.loading import TrainedRun, load
from vae_jax.training import EpochReport, NonFiniteError, Progress

SECONDS_BETWEEN_CHECKPOINTS = 20.0
"""A killed run loses at most this much work, and an epoch."""

NUM_KEPT_CHECKPOINTS = 2


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


def _recorder(job: Job, seconds_between):
    """Write what an epoch gave; the first one begins the folder."""
    if not processes.is_first():
        return lambda report: None
    first, last_saved = job.num_epochs_done + 1, time.monotonic()

    def record(report: EpochReport) -> None:
        nonlocal last_saved
        if report.epoch == first:
            runs.create(job.folder, job.content, overwrite=job.overwrite)
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
