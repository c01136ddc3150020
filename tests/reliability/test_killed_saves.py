"""kill -9 in the middle of saving: what was acknowledged is there, whole, and nothing else is."""

import importlib.util
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from vae_jax import checkpoints

SAVER = Path(__file__).with_name("saver.py")
_ABSTRACT = {"place": np.zeros(2, np.int32), "weights": np.zeros((64, 64), np.float32)}


def state_of(*place):
    spec = importlib.util.spec_from_file_location("saver", SAVER)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.state_of(*place)


def started() -> subprocess.Popen:
    """A process that imports what it needs and waits."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, "-W", "ignore", str(SAVER)], **pipes)


def killed_after(process, folder, start, delay) -> tuple[int, int]:
    """The last state that was acknowledged by a process killed so long after its first one."""
    with process:
        print(folder, start, file=process.stdin, flush=True)
        first = process.stdout.readline()
        time.sleep(delay)
        process.kill()
        *_, last = [first, *process.stdout]
    assert process.returncode == -signal.SIGKILL
    step, version = last.split()
    return int(step), int(version)


@pytest.mark.slow
@pytest.mark.parametrize("num_kills", [10, pytest.param(100, marks=pytest.mark.long)])
def test_acknowledged_checkpoints_survive_kills(tmp_path, num_kills):
    rng, start = np.random.default_rng(num_kills), 0
    waiting = [started(), started()]
    for _ in range(num_kills):
        waiting.append(started())
        acknowledged = killed_after(waiting.pop(0), tmp_path, start, rng.uniform(0, 0.2))
        checkpoints.sweep(tmp_path)
        names = [path.name for path in tmp_path.iterdir()]
        assert all(map(str.isdecimal, names)), names
        found = checkpoints.find(tmp_path)
        assert found.damaged == {}
        restored = checkpoints.restore(tmp_path, _ABSTRACT)
        place = tuple(np.asarray(restored["place"]).tolist())
        assert place >= acknowledged
        np.testing.assert_array_equal(restored["weights"], state_of(*place)["weights"])
        start = place[0] + 1
    for process in waiting:
        process.kill()
        process.communicate()
