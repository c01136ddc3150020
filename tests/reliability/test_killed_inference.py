"""kill -9 of the real infer.py inside annealing and MCMC: in the end the same weights and draws."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"
TINY = "--latent-dim 3 --hidden-dims 8 --train.num-epochs 1"
# 21 chunks of annealing, 20 of MCMC; with a save after each these are most of the time.
OPTIONS = (
    "--num-images 4 --num-posteriors 4 --num-chains 4 --num-simulations 0 --num-temperatures 400 "
    "--num-draws 300 --checkpoint-seconds 0 --save-draws"
)
EARLY_CHUNKS = np.arange(1, 14)  # some must be left when the last signal comes


def command(script, *arguments):
    return [sys.executable, "-W", "ignore", SCRIPTS / f"{script}.py", *map(str, arguments)]


def start(run, out, cache):
    """infer.py in a process of its own, that compiles what no other one did."""
    environment = os.environ | {
        "JAX_ENABLE_COMPILATION_CACHE": "true",
        "JAX_COMPILATION_CACHE_DIR": str(cache),
    }
    return subprocess.Popen(
        command("infer", run, *OPTIONS.split(), "--out", out),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("compiled")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "vae"
    done = subprocess.run(
        command("train", "vae", *TINY.split(), "--out", folder), capture_output=True
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def unbroken(run, cache, tmp_path_factory):
    out = tmp_path_factory.mktemp("unbroken")
    finish(run, out, cache)
    return out


def finish(run, out, cache) -> str:
    with start(run, out, cache) as process:
        said = process.stderr.read()
    assert process.returncode == 0, said
    assert not (out / "unfinished").exists()
    return said


def num_saved(out, engine):
    """Chunks of an engine's work on test images that are on the disk."""
    folders = out.glob(f"unfinished/test/*/run/{engine}/state/*")
    return max((int(folder.name) for folder in folders if folder.name.isdecimal()), default=0)


def interrupt(process, out, engine, chunk, number, rng):
    """Send a signal somewhere after this chunk was saved, and one more than there were."""
    least = max(chunk, num_saved(out, engine) + 1)
    while process.poll() is None and num_saved(out, engine) < least:
        time.sleep(0.002)
    time.sleep(rng.uniform(0, 0.1))
    process.send_signal(number)


def assert_same_files(left, right):
    for name in ("draws.npz", "weights.npz"):
        ours, theirs = np.load(left / name), np.load(right / name)
        for field in theirs:
            np.testing.assert_array_equal(ours[field], theirs[field], err_msg=f"{name}: {field}")


@pytest.mark.slow
@pytest.mark.parametrize("num_kills", [1, pytest.param(10, marks=pytest.mark.long)])
def test_killed_inference_ends_as_the_unbroken_one(run, unbroken, cache, tmp_path, num_kills):
    """Killed in annealing and in MCMC, stopped by SIGTERM at last, and finished."""
    rng = np.random.default_rng(num_kills)
    for engine in ("annealed_draws", "sample_posterior"):
        for chunk in np.sort(rng.choice(EARLY_CHUNKS, num_kills, replace=False)):
            with start(run, tmp_path, cache) as process:
                interrupt(process, tmp_path, engine, int(chunk), signal.SIGKILL, rng)
            assert process.returncode == -signal.SIGKILL
    before = num_saved(tmp_path, "sample_posterior")
    with start(run, tmp_path, cache) as process:
        interrupt(process, tmp_path, "sample_posterior", 1, signal.SIGTERM, rng)
        *_, last = process.stderr.read().splitlines()
    assert process.returncode == 143, last
    assert "stopped by SIGTERM: " in last
    assert " is saved, the same command goes on from there" in last
    assert num_saved(tmp_path, "sample_posterior") > before
    assert "going on where an earlier call was stopped" in finish(run, tmp_path, cache)
    assert_same_files(tmp_path, unbroken)
    names = {path.name for path in tmp_path.rglob("*")}
    assert not any(name.startswith(".") for name in names), names


def test_arrays_are_those_that_were_asked_for(unbroken):
    draws, weights = np.load(unbroken / "draws.npz"), np.load(unbroken / "weights.npz")
    assert draws["z"].shape == (4, 4, 300, 3)
    assert draws["log_joint"].shape == (4, 4, 300)
    assert weights["log_weight"].shape == (4, 4)
    assert draws["image"].tolist() == weights["image"].tolist() == [0, 1, 2, 3]
    assert np.isfinite(draws["log_joint"]).all()
