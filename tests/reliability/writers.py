"""Every writer of the library on a disk that refuses; started by test_refusing_disks.py.

`python writers.py FOLDER FAULT` writes once with each, lets the fault come, writes again, and
prints a line of JSON for each: what was raised, and whether every file is as it was before.
"""

import contextlib
import json
import resource
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from vae_jax import checkpoints, records, reproduction_report, runs, tensorboard

MOST_BYTES = 20_000
"""What a file may hold on the disk that is full."""


def save(folder, size):
    weights = np.random.default_rng(0).normal(size=size)
    checkpoints.save(folder, size, {"weights": weights.astype(np.float32)})


def write(folder, size):
    records.write_files(folder, {"figures/a.png": b"a", "report.html": b"b" * size})


def configure(folder, size):
    records.write_json(folder / "config.json", {"text": "c" * size})


def append(folder, size):
    for _ in range(size // 50):
        runs.append_metrics(folder, {"epoch": 1, "text": "d" * 40})


def keep(folder, size):
    reproduction_report.keep(folder, {"text": "e" * size})


def log(folder, size):
    report = SimpleNamespace(
        epoch=1, train={}, validation={"objective": 1.0}, images_per_second=1.0
    )
    with tensorboard.recorder([folder]) as record:
        for _ in range(size // 50):
            record([report])


WRITERS = {each.__name__: each for each in (save, write, configure, append, keep, log)}
GROWING = (append, log)
"""Writers that add lines or records: what was there stays, and what is added is whole."""


@contextlib.contextmanager
def full(folder):
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (MOST_BYTES, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))


@contextlib.contextmanager
def forbidding(folder, *, of_folders, of_files):
    paths = [folder, *folder.rglob("*")]
    before = {path: path.stat().st_mode for path in paths}
    for path in reversed(paths):
        path.chmod(of_folders if path.is_dir() else of_files)
    yield
    for path, mode in before.items():
        path.chmod(mode)


def read_only(folder):
    return forbidding(folder, of_folders=0o555, of_files=0o444)


def denied(folder):
    return forbidding(folder, of_folders=0o000, of_files=0o000)


FAULTS = {each.__name__: each for each in (full, read_only, denied)}


def contents(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def is_intact(before, after, writer):
    if writer not in GROWING:
        return after == before
    kept = all(after[name].startswith(content) for name, content in before.items())
    lines = after.get(runs.METRICS, b"").splitlines(keepends=True)
    return kept and all(line.endswith(b"}\n") for line in lines)


def try_out(folder, writer, fault):
    folder.mkdir()
    writer(folder, 100)
    before, raised = contents(folder), None
    with fault(folder):
        try:
            writer(folder, 4 * MOST_BYTES)
        except Exception as error:
            raised = error
    return {
        "writer": writer.__name__,
        "is_os_error": isinstance(raised, OSError),
        "error": f"{type(raised).__name__}: {raised}",
        "is_intact": is_intact(before, contents(folder), writer),
    }


if __name__ == "__main__":
    folder, fault = Path(sys.argv[1]), FAULTS[sys.argv[2]]
    for name, writer in WRITERS.items():
        print(json.dumps(try_out(folder / name, writer, fault)), flush=True)
