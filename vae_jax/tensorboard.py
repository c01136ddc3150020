"""The metrics of every epoch for TensorBoard, beside metrics.jsonl; the extra `tensorboard`."""

import contextlib
import importlib.util
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from vae_jax.configs import ConfigError

FOLDER = "tensorboard"
"""Within a run folder."""


def check() -> None:
    """Refuse to begin what could not be written.

    Raises:
        ConfigError: the package is not installed.
    """
    if importlib.util.find_spec("tensorboardX") is None:
        raise ConfigError(
            'tensorboard is True and tensorboardX is not installed: pip install -e ".[tensorboard]"'
        )


@contextlib.contextmanager
def recorder(folders: Sequence[Path]) -> Iterator[Callable]:
    """What writes the reports of an epoch, those of each run into its folder.

    A run that goes on after an earlier call takes back the epochs that are trained again.

    Args:
        folders: of the runs, in the order of the reports.

    Yields:
        `reports -> None`, one `EpochReport` for each run, None for those that have stopped.
    """
    writers = {}

    def record(reports) -> None:
        for folder, report in zip(folders, reports, strict=True):
            if report is not None:
                if folder not in writers:
                    writers[folder] = _writer(folder, report.epoch)
                _write(writers[folder], report)

    try:
        yield record
    finally:
        for writer in writers.values():
            writer.close()


def _writer(folder: Path, first_epoch: int):
    """One that writes at once: a full disk is an error here, not a thread that waits for ever."""
    from tensorboardX.event_file_writer import EventsWriter
    from tensorboardX.proto.event_pb2 import Event, SessionLog

    # The folder is written from the first epoch on, and not before.
    path = folder / FOLDER
    path.mkdir(parents=True, exist_ok=True)
    writer = EventsWriter(str(path / "events"), f".{time.time_ns()}")
    restart = SessionLog(status=SessionLog.START)  # takes back what other files say from here on
    writer.write_event(Event(wall_time=time.time(), step=first_epoch, session_log=restart))
    return writer


def _write(writer, report) -> None:
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.summary import Summary

    values = {"images_per_second": report.images_per_second}
    for part in ("train", "validation"):
        means = getattr(report, part).items()
        values |= {f"{name}/{part}": value for name, value in means if not isinstance(value, list)}
    found = [Summary.Value(tag=name, simple_value=value) for name, value in values.items()]
    summary = Summary(value=found)
    writer.write_event(Event(wall_time=time.time(), step=report.epoch, summary=summary))
    writer.flush()
