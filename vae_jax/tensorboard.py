"""The metrics of every epoch for TensorBoard, beside metrics.jsonl; the extra `tensorboard`."""

import contextlib
import importlib.util
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
    from tensorboardX import SummaryWriter

    # The folder is written from the first epoch on, and not before.
    start = {"purge_step": first_epoch, "filename_suffix": f".{first_epoch}"}
    return SummaryWriter(str(folder / FOLDER), **start)


def _write(writer, report) -> None:
    for part in ("train", "validation"):
        scalars = {k: v for k, v in getattr(report, part).items() if not isinstance(v, list)}
        for name, value in scalars.items():
            writer.add_scalar(f"{name}/{part}", value, report.epoch)
    writer.add_scalar("images_per_second", report.images_per_second, report.epoch)
