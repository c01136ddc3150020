"""The only place that talks to a person: arguments, banner, progress, tables, errors, exit codes.

Tables go to standard output, everything else to standard error. Nothing heavy is imported before
the arguments are parsed, so that `--help` answers at once.
"""

import contextlib
import errno
import os
import shutil
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

from vae_jax import compile_cache
from vae_jax.arguments import parse
from vae_jax.configs import ConfigError
from vae_jax.interruption import Interrupted
from vae_jax.tables import Table, cell, explanation, is_numeric

FAILED, USAGE, INTERRUPTED = 1, 2, 130
"""Exit codes: failed while running, wrong arguments or input, stopped by Ctrl-C."""

SECONDS_BETWEEN_LINES = 10.0
"""Where there is no terminal to draw a progress bar in, a line is printed this often."""

_NO_ROOM, _NOT_ALLOWED = "make room, then run the same command again", "choose another, or allow it"
_ADVICE = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), _NO_ROOM),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), _NOT_ALLOWED),
}

_PLAIN_WIDTH = 160  # of tables where there is no terminal
_live_bars: list = []  # the progress display on the screen, if any
_is_quiet = False  # where another process speaks


def run_script(
    command: type | Callable, main: Callable[[Any], int | None], *, args: list[str] | None = None
) -> NoReturn:
    """Parse the arguments, run, and exit; a person sees one line for what is their mistake.

    Args:
        command: a frozen dataclass, parsed by tyro, or a function `args -> object`.
        main: does the work; imports what is heavy itself; returns an exit code, or None for 0.
        args: the arguments; those of this process if None.

    Raises:
        SystemExit: always. Code 2 for wrong arguments and `InputError`, 1 for files and folders
            that fail while running (`OSError`), 130 for Ctrl-C, 143 where SIGTERM stopped what was
            saved first. All else keeps its traceback.
    """
    args = sys.argv[1:] if args is None else args
    parsed = None
    try:
        parsed = parse(command, args) if isinstance(command, type) else command(args)
        compile_cache.activate()
        _join(parsed)
        code = main(parsed) or 0
        _part(parsed)
        sys.exit(code)
    except Interrupted as stop:  # in every process
        message(str(stop))
        sys.exit(128 + stop.signal)
    except (KeyboardInterrupt, Exception) as error:
        told = _told(error)
        if told is None and not _is_distributed(parsed):
            raise
        _leave(parsed, *(told or (traceback.format_exc(), FAILED)))


def banner(*, seed: int, config: Any) -> None:
    """One line that says what the numbers will depend on, and a warning for an idle GPU."""
    from vae_jax.runs import PROJECT, config_hash, versions

    found = versions()
    count = f" x {found['num_devices']}" if found["num_devices"] > 1 else ""
    parts = (
        f"{PROJECT} {found[PROJECT]}" + (f" ({found['git']})" if found["git"] else ""),
        f"Python {found['python']}",
        *(f"{package} {found[package]}" for package in ("jax", "flax", "numpyro")),
        f"{found['backend']}: {found['device']}{count}, {found['cores']} cores",
        f"x64 {'on' if found['x64'] else 'off'}",
        f"seed {seed}",
        f"config {config_hash(config)}",
    )
    message(" · ".join(parts))
    if found["backend"] == "cpu" and (gpus := visible_gpus()):
        warn(
            f"nvidia-smi sees {len(gpus)} GPU(s) but jax runs on the CPU: "
            'install jax for it with pip install -e ".[cuda13]" (or ".[cuda12]")'
        )


def hush(is_quiet: bool) -> None:
    """Say no more than errors, or speak again: of several processes one speaks.

    Args:
        is_quiet: whether another process says the rest.
    """
    global _is_quiet
    _is_quiet = is_quiet


def show(text: str) -> None:
    """One line of what was asked for, to standard output."""
    if not _is_quiet:
        print(text, flush=True)


def message(text: str) -> None:
    """One line about the work, to standard error."""
    if not _is_quiet:
        print(text, file=sys.stderr, flush=True)


def warn(text: str) -> None:
    """One line that starts with "warning:"."""
    message(f"warning: {text}")


def interpreter() -> str:
    """The Python that runs, as a person here would call it."""
    path = Path(sys.executable)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def print_table(table: Table) -> None:
    """Print a table to standard output."""
    if _is_quiet:
        return
    from rich.console import Console
    from rich.table import Table as RichTable

    drawn = RichTable(title=table.title, caption=explanation(table) or None, title_justify="left")
    drawn.caption_justify = "left"
    for column in table.columns:
        justify = "right" if is_numeric(table, column) else "left"
        drawn.add_column(column.header, justify=justify, overflow="fold")
    for row in table.rows:
        drawn.add_row(*(cell(row, column) for column in table.columns))
    Console(width=None if sys.stdout.isatty() else _PLAIN_WIDTH, markup=False, emoji=False).print(
        drawn
    )


@contextlib.contextmanager
def progress(description: str, total: int | None = None) -> Iterator[Callable[..., None]]:
    """Show how far a long piece of work is: a bar in a terminal, an occasional line elsewhere.

    Example:
        with progress("training vae", total=200) as advance:
            for epoch in range(200):
                advance(1, note="validation -16.5 nats")

    Args:
        description: what is being done.
        total: how many steps; None if that is not known.

    Yields:
        `advance(num=1, *, note="")`, to call after so many steps.
    """
    draw = _bar if sys.stderr.isatty() and not _is_quiet else _lines
    with draw(description, total) as advance:
        yield advance


def visible_gpus() -> list[str]:
    """The GPUs that nvidia-smi lists, whatever jax sees."""
    if shutil.which("nvidia-smi") is None:
        return []
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [line for line in listed.stdout.splitlines() if line.startswith("GPU")]


@contextlib.contextmanager
def _bar(description: str, total: int | None) -> Iterator[Callable[..., None]]:
    from rich import progress as bars
    from rich.console import Console

    columns = (
        bars.TextColumn("{task.description}", markup=False),
        bars.BarColumn(),
        bars.MofNCompleteColumn(),
        bars.TimeElapsedColumn(),
        bars.TimeRemainingColumn(),
        bars.TextColumn("{task.fields[note]}", markup=False),
    )
    # Two live displays would draw over each other: work inside of work shares the outer one.
    with contextlib.ExitStack() as stack:
        if not _live_bars:
            _live_bars.append(bars.Progress(*columns, console=Console(stderr=True)))
            stack.callback(_live_bars.clear)
            stack.enter_context(_live_bars[0])
        live = _live_bars[0]
        task = live.add_task(description, total=total, note="")

        def advance(num: int = 1, *, note: str = "") -> None:
            live.update(task, advance=num, note=note)

        yield advance


@contextlib.contextmanager
def _lines(description: str, total: int | None) -> Iterator[Callable[..., None]]:
    started = last = time.monotonic()
    done = 0

    def line(note: str) -> str:
        count = f"{done}" if total is None else f"{done}/{total}"
        parts = (f"{description}: {count}", note, f"{time.monotonic() - started:.0f} s")
        return " · ".join(part for part in parts if part)

    latest = ""

    def advance(num: int = 1, *, note: str = "") -> None:
        nonlocal done, last, latest
        done, latest = done + num, note
        if time.monotonic() - last >= SECONDS_BETWEEN_LINES:
            last = time.monotonic()
            message(line(note))

    yield advance
    message(line(latest))


def _join(parsed: Any) -> None:
    """Be one of several processes where the command says so, before anything uses jax."""
    if _is_distributed(parsed):
        from vae_jax.sharding import processes

        processes.start(parsed.processes)
        hush(not processes.is_first())


def _part(parsed: Any) -> None:
    """Leave together: the first process may have something to write still."""
    if _is_distributed(parsed):
        from vae_jax.sharding import processes

        processes.wait_for_all("done")


def _is_distributed(parsed: Any) -> bool:
    return hasattr(parsed, "processes") and parsed.processes.distributed


def _told(error: BaseException) -> tuple[str, int] | None:
    """The one line on what is a person's to mend, and the exit code; None for what is ours."""
    if isinstance(error, KeyboardInterrupt):
        return "interrupted", INTERRUPTED
    if isinstance(error, OSError):
        return _one_line(_with_advice(error)), FAILED
    if isinstance(error, ConfigError) or _is_input_error(error):
        return _one_line(error), USAGE
    return None


def _one_line(error: Exception | str) -> str:
    return f"error: {' '.join(str(error).split())}"


def _leave(parsed: Any, text: str, code: int) -> NoReturn:
    """Exit after an error; at once beside others, for jax would wait until they come there too."""
    print(text, file=sys.stderr, flush=True)
    if _is_distributed(parsed):
        sys.stdout.flush()
        os._exit(code)
    sys.exit(code)


def _with_advice(error: OSError) -> str:
    """What the system refused, of which file, and what to do."""
    if error.strerror is None:
        return str(error)
    parts = (error.filename, error.strerror, _ADVICE.get(error.errno))
    return ": ".join(str(part) for part in parts if part)


def _is_input_error(error: Exception) -> bool:
    from bayes_jax.errors import InputError  # imports jax, which --help must not

    return isinstance(error, InputError)
