"""What tests of scripts share: the scripts as modules, a way to run them, and one trained run."""

import contextlib
import importlib.util
import io
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from vae_jax import console

SCRIPTS = Path(__file__).parents[2] / "scripts"
TINY = ["--latent-dim", "3", "--hidden-dims", "16", "--train.num-epochs", "3"]


class Done(NamedTuple):
    """A script that ran."""

    code: int
    out: str
    err: str


def load_script(name):
    """The module of scripts/NAME.py."""
    spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run_script(name, *args) -> Done:
    """Run a script in this process, as a person does."""
    module = load_script(name)
    parse = {
        "train": "parse_train",
        "sample": "Sample",
        "infer": "Infer",
        "impute": "Impute",
        "detect": "Detect",
    }[name]
    out, err = io.StringIO(), io.StringIO()
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        pytest.raises(SystemExit) as exit_,
    ):
        console.run_script(getattr(module, parse), module.main, args=[str(a) for a in args])
    return Done(exit_.value.code, out.getvalue(), err.getvalue())


@pytest.fixture(scope="session")
def run():
    return run_script


@pytest.fixture(scope="session")
def refused():
    """A call that ends in one line of error, which is returned; the banner may precede it."""

    def check(name, *args) -> str:
        done = run_script(name, *args)
        *before, last = done.err.splitlines()
        assert done.code == console.USAGE
        assert last.startswith("error: ")
        assert not [line for line in before if not line.startswith("vae-bayes-jax ")]
        assert done.out == ""
        return last

    return check


@pytest.fixture(scope="session")
def help_of():
    """The text of --help from a process of its own, which must not import jax."""

    def ask(name) -> str:
        script = str(SCRIPTS / f"{name}.py")
        code = (
            "import runpy, sys\n"
            f"sys.argv = [{script!r}, '--help']\n"
            "try: runpy.run_path(sys.argv[0], run_name='__main__')\n"
            "except SystemExit as done: print(done.code, {'jax', 'matplotlib'} & {*sys.modules})\n"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.stdout.splitlines()[-1] == "0 set()", done.stderr
        return done.stdout

    return ask


@pytest.fixture(scope="session")
def vae_run(tmp_path_factory):
    """A small VAE after three epochs on digits."""
    folder = tmp_path_factory.mktemp("runs") / "vae"
    assert run_script("train", "vae", *TINY, "--out", folder).code == 0
    return folder


@pytest.fixture(scope="session")
def mixture_run(tmp_path_factory):
    """A Bernoulli mixture of digits."""
    folder = tmp_path_factory.mktemp("runs") / "mixture"
    assert run_script("train", "mixture", "--num-components", 4, "--out", folder).code == 0
    return folder


@pytest.fixture(scope="session")
def ppca_run(tmp_path_factory):
    """PPCA of digits."""
    folder = tmp_path_factory.mktemp("runs") / "ppca"
    options = ["--latent-dim", 3, "--data.observation", "gaussian"]
    assert run_script("train", "ppca", *options, "--out", folder).code == 0
    return folder
