"""What a person sees: quick help, one line for a mistake, progress with and without a terminal."""

import io
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field

import pytest

from bayes_jax.errors import InputError
from vae_jax import arguments, configs, console
from vae_jax.interruption import Interrupted
from vae_jax.systems import SYSTEMS
from vae_jax.tables import Column, Table


@dataclass(frozen=True)
class Command:
    """Do something.

    Attributes:
        data: the data.
        num: how many.
        overwrite: replace what is there.
    """

    data: configs.DataConfig = field(default_factory=configs.DataConfig)
    num: int = 1
    overwrite: bool = False


def outcome(main, *args, command=Command):
    with pytest.raises(SystemExit) as caught:
        console.run_script(command, main, args=list(args))
    return caught.value.code


def error_line(capsys):
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("error: ")
    return line


def test_nothing_heavy_is_imported_before_arguments_are_parsed():
    code = (
        "import sys; from vae_jax import arguments, configs, console, systems; "
        "arguments.parse_train(['vae']); "
        "print([m for m in ('jax', 'matplotlib', 'sklearn', 'pooch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_arguments_reach_main(capsys):
    seen = []
    assert outcome(seen.append, "--num", "3", "--data.seed", "4", "--overwrite") == 0
    assert seen == [Command(configs.DataConfig(seed=4), num=3, overwrite=True)]
    assert capsys.readouterr() == ("", "")


def test_main_chooses_the_exit_code():
    assert outcome(lambda _: 1) == 1
    assert outcome(lambda _: None) == 0


def test_help_shows_every_option(capsys):
    assert outcome(lambda _: None, "--help") == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    for text in ("--num", "--data.seed", "how many", "Do something"):
        assert text in captured.out


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["--data.seed", "-3"], "seed is -3: expected at least 0"),
        (["--num", "many"], "--num: invalid literal for int() with base 10: 'many'"),
        (["--nun", "3"], "--nun, 3; perhaps you meant --num"),
        (["--data.observation", "grey"], "'grey'"),
        (["--num"], "--num"),
        (["stray"], "stray"),
        (["--data.name"], "--data.name"),
        (["--num", "x" * 150], "x" * 150),
    ],
)
def test_wrong_arguments_are_one_line(capsys, args, expected):
    assert outcome(lambda _: pytest.fail("ran"), *args) == 2
    assert expected in error_line(capsys)


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_errors_are_one_line_whatever_the_terminal_writes(encoding):
    code = (
        "from vae_jax import arguments, console; "
        "console.run_script(arguments.parse_train, print, args=['va'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONIOENCODING": encoding},
    )
    assert done.returncode == 2
    assert done.stderr == (
        f"error: Unrecognized options: va; Available subcommands: {', '.join(SYSTEMS)} "
        "(--help lists the options)\n"
    )


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ([], ", ".join(SYSTEMS)),
        (["va"], ", ".join(SYSTEMS)),
        (["vae", "--latent-dim", "0"], "latent_dim is 0: expected at least 1"),
        (["ppca", "--hidden-dims", "3"], "--hidden-dims"),
        (["vae", "--train.num-epochs", "0"], "num_epochs is 0"),
        (["vae", "--data.unit", "word"], "--data.unit"),
        (["text_vae", "--data.observation", "bernoulli"], "--data.observation"),
        (["--out", "there", "text_vae"], "text_vae is not the first argument: expected SYSTEM"),
    ],
)
def test_wrong_systems_are_one_line(capsys, args, expected):
    code = outcome(lambda _: pytest.fail("ran"), *args, command=arguments.parse_train)
    assert code == 2
    assert expected in error_line(capsys)


@pytest.mark.parametrize("name", SYSTEMS)
def test_every_system_has_its_subcommand(name):
    command = arguments.parse_train([name, "--train.seed", "5", "--data.name", "mine"])
    row = SYSTEMS[name]
    assert command.name == name
    assert command.system == row.config()
    assert command.train == row.train(seed=5)
    assert command.data == row.data(name="mine")
    assert [*map(str, command.runs)] == [f"runs/{name}"]
    assert [*map(str, arguments.parse_train([name, "--out", "there"]).runs)] == ["there"]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InputError("x is 3:\n expected 4"), 2),
        (configs.ConfigError("x is 3: expected 4"), 2),
        (OSError(28, "No space left on device"), 1),
    ],
)
def test_mistakes_of_a_person_are_one_line(capsys, error, code):
    def main(_):
        raise error

    assert outcome(main) == code
    line = error_line(capsys)
    assert "x is 3: expected 4" in line or "No space left" in line


def test_interrupting_is_no_error(capsys):
    def main(_):
        raise KeyboardInterrupt

    assert outcome(main) == 130
    assert capsys.readouterr().err == "interrupted\n"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_what_a_signal_stopped_after_saving_says_so(capsys, number, code):
    def main(_):
        raise Interrupted(number, "epoch 2 is saved")

    assert outcome(main) == code
    assert capsys.readouterr().err == f"stopped by {number.name}: epoch 2 is saved\n"


@pytest.mark.parametrize("error", [ValueError("ours"), TypeError("ours"), ZeroDivisionError()])
def test_defects_of_ours_keep_their_traceback(error):
    def main(_):
        raise error

    with pytest.raises(type(error)):
        console.run_script(Command, main, args=[])


FOUND = {
    "vae-bayes-jax": "0.1.0", "git": "abc", "python": "3.12", "jax": "1", "flax": "2",
    "numpyro": "3", "backend": "cpu", "device": "cpu", "num_devices": 1, "cores": 2, "x64": False,
}  # fmt: skip


@pytest.mark.parametrize(("backend", "gpus"), [("cpu", ["GPU 0"]), ("gpu", ["GPU 0"]), ("cpu", [])])
def test_the_banner_warns_of_an_idle_gpu(capsys, monkeypatch, backend, gpus):
    from vae_jax import runs

    monkeypatch.setattr(runs, "versions", lambda: {**FOUND, "backend": backend})
    monkeypatch.setattr(console, "visible_gpus", lambda: gpus)
    console.banner(seed=7, config=configs.VAEConfig())
    line, *warnings = capsys.readouterr().err.splitlines()
    for text in ("vae-bayes-jax 0.1.0", "jax 1", "seed 7", "x64 off", backend):
        assert text in line
    assert runs.config_hash(configs.VAEConfig()) in line
    assert [w.split(":")[0] for w in warnings] == ["warning"] * (backend == "cpu" and bool(gpus))


def test_gpus_are_what_nvidia_smi_lists(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert console.visible_gpus() == []
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'GPU 0: Some'\necho 'GPU 1: Other'\necho done\n")
    program.chmod(0o755)
    assert console.visible_gpus() == ["GPU 0: Some", "GPU 1: Other"]
    program.write_text("#!/bin/sh\necho 'No devices were found'\nexit 6\n")
    assert console.visible_gpus() == []


def test_progress_without_a_terminal_is_an_occasional_line(capsys, monkeypatch):
    clock = iter(range(0, 1000, 3))
    monkeypatch.setattr(console.time, "monotonic", lambda: next(clock))
    with console.progress("training", total=9) as advance:
        for epoch in range(9):
            advance(1, note=f"epoch {epoch}")
    lines = capsys.readouterr().err.splitlines()
    assert 2 <= len(lines) <= 5
    assert lines[-1].startswith("training: 9/9 · epoch 8 · ")
    assert all("\x1b" not in line for line in lines)


def test_quick_work_without_a_terminal_is_one_line(capsys):
    with console.progress("reading") as advance:
        advance(3)
    assert capsys.readouterr().err == "reading: 3 · 0 s\n"


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_progress_in_a_terminal_is_a_bar_also_inside_another(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    with console.progress("outer", total=2) as outer:
        with console.progress("inner", total=3) as inner:
            inner(3, note="-16.5 [nats]")
        outer(2)
    drawn = terminal.getvalue()
    for text in ("outer", "inner", "2/2", "3/3", "-16.5 [nats]"):
        assert text in drawn
    with console.progress("again", total=1) as advance:
        advance()
    assert "again" in terminal.getvalue()


TABLE = Table(
    "Every model",
    [
        {"model": "vae", "log_prob": -16.518, "stderr": 0.081, "seconds": 12},
        {"model": "mixture [exact]", "log_prob": float("-inf"), "stderr": None, "seconds": 1.5},
    ],
    [
        Column("model", "Model"),
        Column("log_prob", "log p(x) [nats]", ".2f", stderr="stderr"),
        Column("seconds", "seconds", ".1f"),
    ],
    "Higher is better.",
)


def test_tables_are_printed_whole(capsys):
    console.print_table(TABLE)
    printed = capsys.readouterr().out
    for text in ("Every model", "-16.52 ± 0.08", "12.0", "mixture [exact]", "log p(x) [nats]"):
        assert text in printed
    assert "Higher is better." in printed
    assert "inf" not in printed
