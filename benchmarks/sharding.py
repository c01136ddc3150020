"""What do more devices cost, where they share the same cores? 8 virtual devices beside one.

python benchmarks/sharding.py --out OUT              about 10 min on 2 CPU cores, no download

Seconds of posteriors, evidence and training epochs of the seed VAE on random images of MNIST's
size, with 1 device and with 8 (and any other number) on the same CPU cores: what is left over is
the price of spreading. The numbers take turns, each in a process of its own, and the fastest call
counts. Values must agree: to rounding for training and importance sampling, and to what rounding
grows to along a chain for the others (tests/reliability holds those to 1e-6 in double precision).
--out DIR takes sharding.json.
"""

import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import harness
import tyro

from vae_jax import provenance

CHILD = Path(__file__).parent / "sharded_work.py"


@dataclass(frozen=True)
class Benchmark:
    """Measure what virtual devices add to the work of one.

    Attributes:
        num_devices: virtual devices, held against one.
        batch_sizes: of training, examples per step.
        num_steps: of an epoch.
        num_images: whose posteriors and evidence are computed.
        images_at_once: on all devices together.
        num_draws: kept draws per chain, of 16 chains.
        num_temperatures: of annealing.
        num_samples: of importance sampling, per image.
        num_rounds: turns of all numbers of devices.
        num_runs: timed calls in a turn.
        out: folder for the JSON.
    """

    num_devices: tuple[int, ...] = (8,)
    batch_sizes: tuple[int, ...] = (128, 1024, 8192)
    num_steps: int = 8
    num_images: int = 64
    images_at_once: int = 64
    num_draws: int = 100
    num_temperatures: int = 100
    num_samples: int = 1000
    num_rounds: int = 2
    num_runs: int = 3
    out: Path | None = None


def main(command: Benchmark) -> None:
    """Take turns, compare, write."""
    start = time.perf_counter()
    turns = []
    for _ in range(command.num_rounds):
        for num_devices in (1, *command.num_devices):
            turns += work(command, num_devices)
    rows = compared(turns)
    for row in rows:
        print("  ".join(f"{name} {value}" for name, value in row.items()), flush=True)
    config = {**asdict(command), "out": None}
    meta = provenance.meta(
        config, seconds=time.perf_counter() - start, command="sharding.py --out DIR"
    )
    harness.write(command.out, "sharding", rows, meta, summary=summary(rows, command))


def work(command: Benchmark, num_devices: int) -> list[dict]:
    """What a process with so many devices took for each piece of work."""
    flag = f"--xla_force_host_platform_device_count={num_devices}"
    environment = os.environ | {
        "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {flag}",
        "JAX_PLATFORMS": "cpu",
    }
    options = json.dumps({**asdict(command), "out": None})
    done = subprocess.run(
        [sys.executable, CHILD, options], env=environment, stdout=subprocess.PIPE, check=True
    )
    found = json.loads(done.stdout.splitlines()[-1])
    print(num_devices, "devices:", {row["work"]: row["min_seconds"] for row in found}, flush=True)
    return [{**row, "num_devices": num_devices} for row in found]


def compared(turns: list[dict]) -> list[dict]:
    """One row for each piece of work and number of devices: the fastest turn, and what is added."""
    best = {}
    for turn in turns:
        name = (turn["work"], turn["num_devices"])
        if name not in best or turn["min_seconds"] < best[name]["min_seconds"]:
            best[name] = turn
    rows = []
    for (name, _), row in best.items():
        alone = best[name, 1]
        added = row["min_seconds"] / alone["min_seconds"] - 1
        error = abs(row["value"] - alone["value"]) / abs(alone["value"])
        rows.append({**row, "added": added, "relative_error": error})
    return rows


def summary(rows: list[dict], command: Benchmark) -> str:
    """The answer in one line."""
    parts = []
    for num in command.num_devices:
        added = [f"{row['work']} {row['added']:+.0%}" for row in rows if row["num_devices"] == num]
        parts.append(f"{num} devices on the same cores: {', '.join(added)}")
    worst = max(row["relative_error"] for row in rows)
    return f"{'; '.join(parts)}; values differ by {worst:.1e} at most"


if __name__ == "__main__":
    main(tyro.cli(Benchmark))
