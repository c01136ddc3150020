"""1 device, 8 devices, 2 processes with 2 devices each: the same params, evidence and counts."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from vae_jax import trained

HERE = Path(__file__).parent
TRAIN = HERE.parents[1] / "scripts" / "train.py"
NUM_EPOCHS = 12
OPTIONS = (
    "vae --latent-dim 2 --hidden-dims 16 --train.batch-size 64 --checkpoint-seconds 0 "
    f"--train.num-epochs {NUM_EPOCHS} --train.patience {NUM_EPOCHS}"
).split()


def start(num_devices, *args, flags=""):
    """A Python process that sees so many devices."""
    flags += f" --xla_force_host_platform_device_count={num_devices}"
    environment = os.environ | {"XLA_FLAGS": f"{os.environ['XLA_FLAGS']} {flags}"}
    command = [sys.executable, "-W", "ignore", *map(str, args)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, env=environment, stdout=pipe, stderr=pipe, text=True)


def finish(processes, *, code=0):
    """What they printed and warned, once all have ended with this exit code."""
    try:
        said = [process.communicate(timeout=400) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [code] * len(processes), said
    return said


def coordinator():
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return f"localhost:{free.getsockname()[1]}"


def train_distributed(folder, *options):
    """Two processes of the real script, with two devices each."""
    joined = ["--distributed", "--coordinator", coordinator(), "--num-processes", 2]
    args = [TRAIN, *OPTIONS, "--out", folder, *options, *joined]
    return [start(2, *args, "--process-id", index) for index in range(2)]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    folder, address = tmp_path_factory.mktemp("outcomes"), coordinator()
    files = {name: folder / f"{name}.npz" for name in ("one", "eight", "two_by_two")}
    sharer = HERE / "sharer.py"
    keep_programs = f"--xla_dump_to={folder} --xla_dump_hlo_module_re=jit__run"
    finish([start(1, sharer, files["one"]), start(8, sharer, files["eight"], flags=keep_programs)])
    finish([start(2, sharer, files["two_by_two"], address, 2, index) for index in range(2)])
    found = {name: dict(np.load(path)) for name, path in files.items()}
    programs = [path.read_text() for path in folder.glob("*jit__run.*after_optimizations.txt")]
    return found | {"programs": programs}


EXCHANGES = (
    *("all-gather", "all-reduce", "all-to-all", "reduce-scatter"),
    *("collective-permute", "collective-broadcast"),
)
"""What XLA calls everything that goes from one device to another."""

MANY = pytest.mark.parametrize("name", ["eight", "two_by_two"])


@MANY
@pytest.mark.parametrize("loop", ["train", "streamed"])
def test_params_are_those_of_one_device(outcomes, name, loop):
    error = np.abs(outcomes[name][loop] - outcomes["one"][loop])
    assert np.max(error) < 1e-4
    assert np.median(error) < 1e-6
    objective = f"{loop}_objective"
    np.testing.assert_allclose(outcomes[name][objective], outcomes["one"][objective], rtol=1e-6)


@MANY
@pytest.mark.parametrize("field", ["importance", "fit_elbo", "annealed", "draws"])
def test_evidence_and_draws_are_those_of_one_device(outcomes, name, field):
    np.testing.assert_allclose(outcomes[name][field], outcomes["one"][field], rtol=1e-6)


@MANY
@pytest.mark.parametrize(
    "field",
    [
        *("kind", "annealed_kind", "fit_steps", "fit_evaluations", "annealed_calls"),
        *("diverging", "num_grads"),
    ],
)
def test_counts_are_those_of_one_device(outcomes, name, field):
    np.testing.assert_array_equal(outcomes[name][field], outcomes["one"][field])


@MANY
@pytest.mark.parametrize("noise", ["bits", "pixels"])
def test_noise_is_that_of_one_device_and_moves_nothing(outcomes, name, noise):
    np.testing.assert_array_equal(outcomes[name][noise], outcomes["one"][noise])
    program = str(outcomes[name][f"{noise}_program"])
    assert "ENTRY" in program
    assert not [word for word in EXCHANGES if word in program]


@MANY
def test_other_values_compile_nothing(outcomes, name):
    assert outcomes[name]["num_traces"] == 2  # one for each of two engines, called three times
    assert outcomes[name]["num_epoch_programs"] == 1


def test_no_observation_moves(outcomes):
    assert len(outcomes["programs"]) == 4
    for text in outcomes["programs"]:
        assert "ENTRY" in text
        assert not [word for word in EXCHANGES if word in text]


@pytest.mark.long
def test_two_processes_leave_one_run(tmp_path):
    """Stopped by a signal that one of them gets, they go on and end where one process does."""
    together, alone = tmp_path / "together", tmp_path / "alone"
    processes = train_distributed(together)
    metrics = together / "metrics.jsonl"
    while not (metrics.exists() and len(metrics.read_bytes().splitlines()) > 2):
        if [process.poll() for process in processes] != [None, None]:
            [process.kill() for process in processes]
            finish(processes)
        time.sleep(0.002)
    processes[1].send_signal(signal.SIGTERM)
    (_, first), (_, second) = finish(processes, code=128 + signal.SIGTERM)
    assert "is saved, the same command goes on from there" in first
    assert "saved" not in second
    stopped = int(trained.load(together).progress.epoch)
    assert 2 < stopped < NUM_EPOCHS

    single = start(1, TRAIN, *OPTIONS, "--out", alone)
    (told, _), (nothing, _) = finish(train_distributed(together))
    finish([single])
    assert "report.html" in told
    assert "report.html" not in nothing
    assert len(metrics.read_bytes().splitlines()) == NUM_EPOCHS
    ends = [jax.tree.leaves(trained.load(folder).progress) for folder in (together, alone)]
    errors = [np.ravel(np.abs(np.subtract(*pair))) for pair in zip(*ends, strict=True)]
    assert np.max(np.concatenate(errors)) < 1e-4
    names = {path.name for path in together.rglob("*")}
    assert not any(name.startswith(".") for name in names), names


def test_a_batch_that_processes_cannot_share_is_refused_in_one_line(tmp_path):
    said = finish(train_distributed(tmp_path / "run", "--train.batch-size", 30), code=2)
    for _, line in said:
        assert line.splitlines()[-1] == (
            "error: batch_size is 30, the processes have 4 devices: expected a multiple of 4"
        )
    assert not (tmp_path / "run").exists()


@pytest.mark.long
def test_processes_with_other_options_are_refused_in_one_line(tmp_path):
    args = [TRAIN, *OPTIONS, "--out", tmp_path / "run", "--distributed", "--coordinator"]
    args += [coordinator(), "--num-processes", 2]
    started = [start(2, *args, "--process-id", seed, "--train.seed", seed) for seed in range(2)]
    for _, line in finish(started, code=2):
        assert line.splitlines()[-1].startswith("error: not the same in all processes: config;")
    assert not (tmp_path / "run").exists()


@pytest.mark.long
def test_an_error_in_one_process_ends_all(tmp_path):
    """The first cannot save its checkpoint; the other misses it, and does not wait for minutes."""
    joined = ["--distributed", "--coordinator", coordinator(), "--num-processes", 2]
    args = [TRAIN, *OPTIONS, "--out", tmp_path / "run", *joined]
    began = time.monotonic()
    restrained = [HERE / "restrained.py", 8000, sys.executable, "-W", "ignore"]
    first = start(2, *restrained, *args, "--process-id", 0)
    second = start(2, *args, "--process-id", 1)
    said = first.communicate(timeout=200)[1]
    second.communicate(timeout=200)
    assert first.returncode == 1
    assert said.splitlines()[-1].startswith("error: ")
    assert "File too large: make room" in said.splitlines()[-1]
    assert second.returncode != 0
    assert time.monotonic() - began < 150
