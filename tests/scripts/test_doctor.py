"""The doctor: well on this machine, and each check fails where it should."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "doctor.py"


@pytest.fixture(scope="module")
def doctor():
    spec = importlib.util.spec_from_file_location("doctor", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_help_imports_nothing_heavy():
    code = (
        "import runpy, sys\n"
        f"sys.argv = [{str(SCRIPT)!r}, '--help']\n"
        "try: runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "except SystemExit as done: print(done.code, 'jax' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 False"
    assert "--data-dir" in done.stdout


def test_every_check_passes_here(doctor, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(doctor.console, "visible_gpus", list)
    assert doctor.main(doctor.Doctor(str(tmp_path))) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == [f"ok    {name}" for name in doctor.CHECKS]


def test_the_data_folder_is_found(doctor, data_dir):
    assert doctor.check_data(doctor.Doctor(str(data_dir))).startswith("mnist, binarized_mnist in ")


def test_one_failure_is_one_line_and_hides_no_other(doctor, capsys, monkeypatch):
    def failing(_):
        raise RuntimeError("a\nb")

    checks = {"first": failing, "second": lambda config: f"in {config.data_dir}"}
    monkeypatch.setattr(doctor, "CHECKS", checks)
    assert doctor.main(doctor.Doctor("there")) == 1
    assert capsys.readouterr().out == "FAIL  first: a b\nok    second: in there\n"


def test_an_idle_gpu_is_a_failure(doctor, monkeypatch):
    import jax

    monkeypatch.setattr(doctor.console, "visible_gpus", lambda: ["GPU 0: Some"])
    monkeypatch.setattr(jax, "default_backend", lambda: "cpu")
    with pytest.raises(RuntimeError, match="1 GPU"):
        doctor.check_devices(doctor.Doctor())


def test_a_step_that_is_not_finite_is_a_failure(doctor, monkeypatch):
    import jax.numpy as jnp

    monkeypatch.setattr(doctor, "one_step", lambda: ({"w": jnp.ones(2)}, {"elbo": jnp.nan}))
    with pytest.raises(RuntimeError, match="not finite"):
        doctor.check_step(doctor.Doctor())


def test_a_checkpoint_that_differs_is_a_failure(doctor, monkeypatch):
    import jax.numpy as jnp

    from vae_jax import checkpoints

    state = {"w": jnp.ones(2), "step": jnp.int32(3)}
    monkeypatch.setattr(doctor, "one_step", lambda: (state, {}))
    assert doctor.check_checkpoint(doctor.Doctor()).startswith("2 arrays")
    monkeypatch.setattr(
        checkpoints, "restore", lambda *_, **__: {**state, "w": jnp.array([1.0, 1.0001])}
    )
    with pytest.raises(RuntimeError, match="differs"):
        doctor.check_checkpoint(doctor.Doctor())


def test_a_folder_that_is_not_there_is_a_failure(doctor, tmp_path):
    from bayes_jax.errors import InputError

    assert str(tmp_path) in doctor.check_data(doctor.Doctor(str(tmp_path)))
    with pytest.raises(InputError, match="no such folder"):
        doctor.check_data(doctor.Doctor(str(tmp_path / "none")))
