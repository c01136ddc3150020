"""A full disk, a read-only folder, no permission: one line, and what was there is as it was."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from vae_jax import checkpoints, trained
from vae_jax.runs import CHECKPOINTS

SCRIPTS = Path(__file__).parents[2] / "scripts"
RESTRAINED, WRITERS = (Path(__file__).with_name(f"{name}.py") for name in ("restrained", "writers"))
NUM_WRITERS = 6


def run(program, *options, most_bytes="unlimited"):
    """A program that may write no more than anybody may, and not more than so much."""
    command = [sys.executable, RESTRAINED, most_bytes, sys.executable, "-W", "ignore", program]
    return subprocess.run(
        [str(part) for part in (*command, *options)], capture_output=True, text=True, timeout=300
    )


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["full", "read_only", "denied"])
def test_every_writer_leaves_what_was_there(tmp_path, fault):
    done = run(WRITERS, tmp_path, fault)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) == NUM_WRITERS, done.stderr
    for row in found:
        assert row["is_os_error"], row
        assert row["is_intact"], row
        assert "\n" not in row["error"]
    assert done.stderr == ""


def assert_one_line(done, words):
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: "), done.stderr
    assert words in last


def train(folder, **restraint):
    options = "vae --latent-dim 2 --hidden-dims 16 --train.num-epochs 3 --checkpoint-seconds 0"
    return run(SCRIPTS / "train.py", *options.split(), "--out", folder, **restraint)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run of three epochs."""
    folder = tmp_path_factory.mktemp("refused") / "run"
    assert train(folder).returncode == 0
    return folder


def state(folder):
    return {
        path.relative_to(folder): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.slow
def test_training_on_a_full_disk(tmp_path):
    folder = tmp_path / "run"
    done = train(folder, most_bytes=8000)
    assert_one_line(done, "File too large: make room, then run the same command again")
    assert checkpoints.find(folder / CHECKPOINTS) == (None, {})
    assert train(folder).returncode == 0
    assert int(trained.load(folder).progress.epoch) == 3


OPTIONS = {
    "sample.py": "--num 8",
    "infer.py": "--num-images 4 --num-posteriors 2 --num-simulations 0 --num-draws 20",
    "impute.py": "--num-images 4",
}


@pytest.mark.long
@pytest.mark.parametrize("fault", ["full", "read only"])
@pytest.mark.parametrize("script", OPTIONS)
def test_scripts_leave_the_older_report(folder, script, fault):
    before = state(folder)
    folders = [folder, *(path for path in folder.rglob("*") if path.is_dir())]
    options = (SCRIPTS / script, folder, *OPTIONS[script].split())
    if fault == "full":
        assert_one_line(run(*options, most_bytes=8000), "File too large: make room")
    else:
        modes = [path.stat().st_mode for path in folders]
        for path in folders:
            path.chmod(0o555)
        done = run(*options)
        for path, mode in zip(folders, modes, strict=True):
            path.chmod(mode)
        assert_one_line(done, "Permission denied: choose another, or allow it")
    assert state(folder) == before


def test_data_that_may_not_be_read(tmp_path):
    path = tmp_path / "images.npy"
    path.write_bytes(b"")
    path.chmod(0)
    done = run(SCRIPTS / "train.py", "vae", "--data.name", path)
    assert_one_line(done, f"{path}: Permission denied: choose another, or allow it")
