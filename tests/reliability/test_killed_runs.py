"""kill -9 of the real train.py wherever it stands: the same command ends in the same params."""

import hashlib
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from vae_jax import trained

TRAIN = Path(__file__).parents[2] / "scripts" / "train.py"
NUM_EPOCHS = 40
OPTIONS = (
    "--latent-dim 2 --hidden-dims 16 --checkpoint-seconds 0 "
    f"--train.num-epochs {NUM_EPOCHS} --train.patience {NUM_EPOCHS}"
)


def command(folder):
    return [sys.executable, "-W", "ignore", TRAIN, "vae", *OPTIONS.split(), "--out", folder]


def start(folder):
    return subprocess.Popen(command(folder), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def num_epochs(folder):
    path = folder / "metrics.jsonl"
    return len(path.read_bytes().splitlines()) if path.exists() else 0


def digest(folder):
    """Of every byte of the state, the best state and the clock."""
    found = hashlib.sha256()
    for leaf in jax.tree.leaves(trained.load(folder).progress):
        found.update(np.asarray(leaf).tobytes())
    return found.hexdigest()


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    folder = tmp_path_factory.mktemp("unbroken") / "run"
    assert start(folder).wait() == 0
    return folder


def kill_after(folder, epoch):
    """One call of the script, ended in the epoch after this one, if it comes so far."""
    with start(folder) as process:
        while process.poll() is None and num_epochs(folder) < epoch:
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
    return process.returncode


@pytest.mark.slow
@pytest.mark.parametrize("num_kills", [2, pytest.param(20, marks=pytest.mark.long)])
def test_killed_runs_end_as_the_unbroken_one(unbroken, tmp_path, num_kills):
    rng, folder = np.random.default_rng(num_kills), tmp_path / "run"
    for epoch in np.sort(rng.integers(1, NUM_EPOCHS, num_kills)):
        assert kill_after(folder, int(epoch)) in (0, -signal.SIGKILL)
    assert subprocess.run(command(folder), capture_output=True).returncode == 0
    assert digest(folder) == digest(unbroken)
    rows = (folder / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(row)["epoch"] for row in rows] == list(range(1, NUM_EPOCHS + 1))
    names = {path.name for path in folder.rglob("*")}
    assert not any(name.startswith(".") for name in names), names


@pytest.mark.slow
def test_sigterm_saves_and_says_how_to_go_on(unbroken, tmp_path):
    folder = tmp_path / "run"
    with subprocess.Popen(
        command(folder), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        while num_epochs(folder) < 5:
            time.sleep(0.002)
        process.send_signal(signal.SIGTERM)
        lines = process.stderr.read().splitlines()
    assert process.returncode == 143
    assert "stopped by SIGTERM: epoch" in lines[-1]
    assert "the same command goes on from there" in lines[-1]
    assert 5 <= int(trained.load(folder).progress.epoch) < NUM_EPOCHS
    assert subprocess.run(command(folder), capture_output=True).returncode == 0
    assert digest(folder) == digest(unbroken)
