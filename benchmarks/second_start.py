"""How soon does a script take its first step, the first time and the second?

python benchmarks/second_start.py --out OUT                          about 3 min on 2 CPU cores

Seconds from the start of `scripts/train.py` to the end of its first epoch, of digits, which takes
milliseconds: what is measured is importing, tracing and compiling. With an empty folder of compiled
programs, with the one that this left, and with none kept at all. --out DIR takes
second_start.json.
"""

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import harness
import tyro

from vae_jax import provenance

SCRIPT = Path(__file__).parents[1] / "scripts" / "train.py"
FIRST, SECOND, IMPORTS = "first start", "second start", "imports alone"
IMPORTING = "import jax, flax, optax, numpyro, vae_jax.systems, vae_jax.training"


@dataclass(frozen=True)
class Benchmark:
    """Start train.py with an empty cache and with a full one.

    Attributes:
        systems: what it trains.
        num_runs: pairs of starts; the fastest count.
        out: folder for the JSON.
    """

    systems: tuple[str, ...] = ("vae",)
    num_runs: int = 3
    out: Path | None = None


def main(command: Benchmark) -> None:
    """Start, start again, write."""
    start = time.perf_counter()
    rows = [row(IMPORTS, "-", [imports() for _ in range(command.num_runs)])]
    for system in command.systems:
        pairs = [starts(system) for _ in range(command.num_runs)]
        for name, seconds in zip((FIRST, SECOND), zip(*pairs, strict=True), strict=True):
            rows.append(row(name, system, seconds))
    meta = provenance.meta(
        {**asdict(command), "out": None},
        seconds=time.perf_counter() - start,
        command="second_start.py --out DIR",
    )
    harness.write(command.out, "second_start", rows, meta, summary=summary(rows))


def row(name: str, system: str, seconds) -> dict:
    """One row, printed as it comes."""
    found = {"start": name, "system": system, "seconds": min(seconds), "all_seconds": [*seconds]}
    print("  ".join(f"{key} {value}" for key, value in found.items()), flush=True)
    return found


def imports() -> float:
    """Seconds that no cache can save."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", IMPORTING], check=True)
    return time.perf_counter() - began


def starts(system: str) -> tuple[float, float]:
    """Seconds to the first step with an empty cache, and with what that start left there."""
    with tempfile.TemporaryDirectory() as scratch:
        cache = Path(scratch) / "compiled"
        return tuple(
            first_step(system, Path(scratch) / name, cache) for name in ("first", "second")
        )


def first_step(system: str, out: Path, cache: Path) -> float:
    """Seconds until the first epoch of a run is on record."""
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, SCRIPT, system, "--train.num-epochs", "1", "--out", out],
        env=os.environ | {"JAX_COMPILATION_CACHE_DIR": str(cache)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while process.poll() is None and not (out / "metrics.jsonl").exists():
        time.sleep(0.01)
    seconds = time.perf_counter() - began
    if process.wait():
        raise RuntimeError(f"train.py {system} failed")
    return seconds


def summary(rows: list[dict]) -> str:
    """The answer in one line."""
    found = {(row["system"], row["start"]): row["seconds"] for row in rows}
    parts = [
        f"{system}: {found[system, FIRST]:.1f} s to the first step, the second time "
        f"{found[system, SECOND]:.1f} s ({found[system, SECOND] / found[system, FIRST]:.2f} times)"
        for system in dict.fromkeys(row["system"] for row in rows if row["start"] == FIRST)
    ]
    return f"{'; '.join(parts)}; imports alone take {found['-', IMPORTS]:.1f} s"


if __name__ == "__main__":
    main(tyro.cli(Benchmark))
