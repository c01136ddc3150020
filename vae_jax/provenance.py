"""What a number depends on besides its config: software, device, commit, time."""

import importlib.metadata
import os
import platform
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

from vae_jax import __version__
from vae_jax.records import to_plain

PROJECT = "vae-bayes-jax"

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpyro", "blackjax", "orbax-checkpoint", "numpy")


def versions() -> dict:
    """What the numbers depend on besides the config: software, device, processor, commit."""
    import jax

    devices = jax.devices()
    return {
        PROJECT: __version__,
        "python": platform.python_version(),
        **{package: importlib.metadata.version(package) for package in _PACKAGES},
        "backend": jax.default_backend(),
        "device": devices[0].device_kind,
        "num_devices": len(devices),
        "processor": processor(),
        "cores": num_cores(),
        "x64": bool(jax.config.jax_enable_x64),
        "git": git_hash(),
    }


def processor() -> str:
    """The model of the CPU, on which speed and rounding depend."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    # Virtual machines give several models the same name.
    found = dict(map(str.strip, line.split(":", 1)) for line in reversed(lines) if ":" in line)
    parts = (found.get("model name", platform.machine()), found.get("model"))
    return ", model ".join(part for part in parts if part)


def num_cores() -> int:
    """CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def git_hash() -> str | None:
    """The commit of the checkout this package lies in, "-dirty" if it was changed since."""
    root = Path(__file__).parents[1]
    # An installed package may lie inside the checkout of something else: then it has no commit.
    if _git(root, "rev-parse", "--show-toplevel") != str(root):
        return None
    commit = _git(root, "rev-parse", "--short=12", "HEAD")
    is_dirty = bool(_git(root, "status", "--porcelain", "--untracked-files=no"))
    return f"{commit}-dirty" if commit and is_dirty else commit


def meta(config: Any, *, seconds: float, command: str | None = None) -> dict:
    """The "meta" of a results.json.

    Args:
        config: what was asked for, a config or a dict.
        seconds: wall-clock time of the whole command.
        command: as typed; this process' own if None.

    Returns:
        command, config, versions, device, git, seconds.
    """
    found = versions()
    return {
        "command": command or shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "config": to_plain(config),
        "device": found.pop("device"),
        "git": found.pop("git"),
        "versions": found,
        "seconds": seconds,
    }


def results(meta: dict, rows: list[dict]) -> dict:
    """The content of a results.json: `{"meta": ..., "rows": [...]}`, ready for JSON."""
    return {"meta": to_plain(meta), "rows": to_plain(rows)}


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "--no-optional-locks", "-C", str(root), *arguments],
            capture_output=True,
            text=True,
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
