"""compare.py: the whole job in little, and one line for what a person gets wrong."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bayes_jax.errors import InputError
from vae_jax.comparison.entrants import track
from vae_jax.sharding import processes

SCRIPT = Path(__file__).parents[2] / "scripts" / "compare.py"
LITTLE = [
    "--train.num-epochs", "2", "--budget.num-images", "8",
    "--budget.num-posteriors", "4", "--budget.num-chains", "4",
    "--budget.num-temperatures-prior", "10", "--budget.num-temperatures-guide", "5",
    "--budget.num-elbo-samples", "50", "--budget.num-reference-draws", "20",
    "--budget.num-simulations", "5",
]  # fmt: skip
TABLES = {"inference", "sandwich", "gaps", "models", "quality", "commands"}
NUM_GREY = len(track("gaussian", ("all",)))


@pytest.fixture(scope="module")
def compare():
    spec = importlib.util.spec_from_file_location("compare", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["compare"] = module
    spec.loader.exec_module(module)
    return module


def run(compare, *arguments):
    with pytest.raises(SystemExit) as exit_:
        compare.console.run_script(compare.Compare, compare.main, args=list(arguments))
    return exit_.value.code


def test_processes_compare_config_and_data_before_anything_is_written(
    compare, tmp_path, monkeypatch
):
    def refuse(contents):
        assert [*contents()] == ["config", "data"]
        raise InputError("not the same")

    monkeypatch.setattr(processes, "check_alike", refuse)
    assert run(compare, *LITTLE, "--out", str(tmp_path / "run")) == compare.console.USAGE
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("latent_dim", "models", "tables", "num_models", "num_figures"),
    [
        (2, ("vae", "deep_latent", "ppca"), {*TABLES, "decoders", "noise"}, 3, 6),
        pytest.param(3, ("core",), TABLES, 5, 7, marks=pytest.mark.long),
        pytest.param(
            3, ("all",), {*TABLES, "decoders", "noise"}, NUM_GREY, 7, marks=pytest.mark.long
        ),
    ],
)
def test_gaussian_track_end_to_end(
    compare, tmp_path, capsys, latent_dim, models, tables, num_models, num_figures
):
    """A 2-d latent is inferred once; a larger one beside a 2-d one, whose evidence is exact."""
    out = tmp_path / "run"
    arguments = ["--observation", "gaussian", "--latent-dim", str(latent_dim), "--out", str(out)]
    assert run(compare, *LITTLE, *arguments, "--models", *models) == 0
    printed = capsys.readouterr().out
    for name in ("seed VAE (2-d)", f"seed VAE ({latent_dim}-d)", "PPCA"):
        assert name in printed
    results = json.loads((out / "results.json").read_text())
    assert {row["table"] for row in results["rows"]} == tables
    numbers = {"model", "method", "log_prob", "stderr", "kind", "num_images", "seconds"}
    for row in results["rows"]:
        assert row["table"] in ("quality", "commands") or numbers <= {*row}
    for table in ("models", "commands"):
        assert sum(row["table"] == table for row in results["rows"]) == num_models
    page = (out / "report.html").read_text()
    assert "<img" in page
    assert "http" not in page.split("<body")[1].split("data:image")[0]
    assert len(list((out / "figures").glob("*.png"))) == num_figures
    assert (out / "results.csv").read_text().count("\n") == len(results["rows"]) + 1


def test_a_folder_of_another_run_is_refused(compare, tmp_path, capsys):
    out = tmp_path / "run"
    out.mkdir()
    (out / "thesis.tex").write_text("years of work")
    assert run(compare, *LITTLE, "--out", str(out), "--overwrite") == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ")
    assert "choose another output folder" in error
    assert [path.name for path in out.iterdir()] == ["thesis.tex"]


def grey(tmp_path):
    images = np.full((40, 8, 8), 0.5, np.float32)
    images[3, 2, 2] = np.nan
    path = tmp_path / "nan.npy"
    np.save(path, images)
    return str(path)


def truncated(tmp_path):
    path = tmp_path / "short.npz"
    np.savez(path, images=np.zeros((40, 8, 8), np.uint8))
    path.write_bytes(path.read_bytes()[:200])
    return str(path)


def empty(tmp_path):
    path = tmp_path / "empty.npy"
    path.touch()
    return str(path)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--data", "mnsit"], ["mnsit", "digits"]),
        (["--data", "no/such.npz"], ["no/such.npz"]),
        (["--data", grey], ["nan.npy", "NaN"]),
        (["--data", truncated], ["short.npz"]),
        (["--data", empty], ["empty.npy", "empty"]),
        (["--models", "gam"], ["'gam'", "mixture"]),
        (["--models", "deep_latent"], ["deep_latent", "vae"]),
        (["--models", "ppca"], ["'ppca'", "bernoulli"]),
        (["--observation", "poisson"], ["observation", "poisson"]),
        (["--seeds", "0"], ["seeds is 0"]),
        (["--budget.num-images", "100000"], ["num_images", "359"]),
        (["--train.batch-size", "5000"], ["batch_size is 5000"]),
        (["--outt", "x"], ["outt"]),
    ],
)
def test_mistakes_are_one_line_and_write_nothing(compare, tmp_path, capsys, arguments, words):
    arguments = [part(tmp_path) if callable(part) else part for part in arguments]
    out = tmp_path / "out"
    assert run(compare, *arguments, "--out", str(out)) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    for word in words:
        assert word in errors[0]
    assert not (out / "results.json").exists()
    assert not (out / "report.html").exists()


def test_help_imports_nothing_heavy():
    code = (
        "import runpy, sys\n"
        f"sys.argv = [{str(SCRIPT)!r}, '--help']\n"
        "try: runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "except SystemExit as done: print(done.code, 'jax' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 False"
    assert "--observation" in done.stdout
