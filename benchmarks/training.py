"""How fast is the seed VAE trained, beside PyTorch and NumPyro, and beside the machine's limits?

python benchmarks/training.py --data-dir DIR --out OUT     about 12 min on 2 CPU cores
python benchmarks/training.py --data random                with no download

Steps per second at several batch sizes, seconds to compile, memory in a process of its own; the
share of the matrix products' ceiling, and of the roofline: the products' seconds plus those of
moving params, gradients and Adam's moments once (see roofline.py).
PyTorch needs `pip install -c constraints.txt -e ".[bench]"`. --out DIR takes training.json, .png.
"""

import time
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import harness
import jax
import numpy as np
import peak_memory
import roofline
import trainers
import tyro

from vae_jax import plots, provenance
from vae_jax.configs import DataConfig
from vae_jax.data import arrays

OURS, FRESH, AT_ONCE = "ours", "ours, fresh bits", "ours, many seeds at once"
HALF, TORCH_HALF = "ours, bfloat16", "PyTorch, compiled, bfloat16"


@dataclass(frozen=True)
class Benchmark:
    """Measure steps per second of the seed VAE.

    Attributes:
        data: mnist, or random pixels of its size, which need no download.
        data_dir: folder of the data sets.
        batch_sizes: examples per step.
        num_examples: of an epoch, at most so many of the data.
        num_runs: epochs that are timed, in turns with the peers; the fastest counts.
        num_seeds: trained at once, beside one.
        peers: hold PyTorch against it.
        out: folder for the JSON and the figure.
    """

    data: Literal["mnist", "random"] = "mnist"
    data_dir: str | None = None
    batch_sizes: tuple[int, ...] = (32, 128, 1024)
    num_examples: int = 16384
    num_runs: int = 5
    num_seeds: int = 4
    peers: bool = True
    out: Path | None = None


def main(command: Benchmark) -> None:
    """Train, compare, write."""
    start = time.perf_counter()
    x = examples(command)
    machine = roofline.measured(x.shape[1])
    print(
        f"matrix products at {machine.gflops:.0f} GFLOP/s, "
        f"memory at {machine.gbytes_per_second:.0f} GB/s",
        flush=True,
    )
    rows = []
    for batch_size in command.batch_sizes:
        limits = roofline.limits(machine, batch_size, x.shape[1])
        for row in batch_rows(x, batch_size, command):
            rows.append(row | shares(row, limits))
            print("  ".join(f"{name} {value}" for name, value in shown(rows[-1])), flush=True)
    config = {**asdict(command), **asdict(machine), "data_dir": None, "out": None}
    meta = provenance.meta(config, seconds=time.perf_counter() - start)
    if command.out is not None:
        command.out.mkdir(parents=True, exist_ok=True)
        figure(rows).savefig(command.out / "training.png", dpi=150)
    harness.write(command.out, "training", rows, meta, summary=summary(rows, config))


def examples(command: Benchmark) -> np.ndarray:
    """0/1 pixels as uint8."""
    if command.data == "random":
        generator = np.random.default_rng(0)
        return (generator.random((command.num_examples, 784)) < 0.2).astype(np.uint8)
    dataset = arrays.load(DataConfig(name=command.data, data_dir=command.data_dir))
    return dataset.train[: command.num_examples]


def methods(command: Benchmark) -> dict:
    """Name -> maker of an epoch."""
    of_jax = {
        OURS: trainers.ours,
        HALF: partial(trainers.ours, dtype="bfloat16"),
        FRESH: partial(trainers.ours, fresh=True),
        AT_ONCE: partial(trainers.ours_at_once, num_seeds=command.num_seeds),
        "NumPyro SVI in a scan": trainers.numpyro_svi,
        "JAX, step by step": trainers.step_by_step,
    }
    of_torch = {
        "PyTorch, eager": partial(trainers.pytorch, compiled=False),
        "PyTorch, compiled": partial(trainers.pytorch, compiled=True),
        TORCH_HALF: partial(trainers.pytorch, compiled=True, autocast=True),
    }
    return of_jax | (of_torch if command.peers else {})


def batch_rows(x: np.ndarray, batch_size: int, command: Benchmark) -> list[dict]:
    """Epochs of all methods in turns, so that a slow minute of the machine slows them all."""
    makers = methods(command)
    peaks = {name: peak_memory.of_epoch(make, x, batch_size) for name, make in makers.items()}
    epochs = {name: make(x, batch_size) for name, make in makers.items()}
    first = {name: seconds_of(epoch) for name, epoch in epochs.items()}
    taken = {name: [] for name in epochs}
    for _ in range(command.num_runs):
        for name, epoch in epochs.items():
            taken[name].append(seconds_of(epoch))
    return [
        epoch_row(name, batch_size, taken[name], first[name], num_steps=steps)
        | {"peak_mebibytes": peaks[name]}
        for name in epochs
        for steps in [len(x) // batch_size * (command.num_seeds if name == AT_ONCE else 1)]
    ]


def epoch_row(name, batch_size, seconds, first_seconds, *, num_steps) -> dict:
    """One row; the steps of all seeds count."""
    return {
        "method": name,
        "batch_size": batch_size,
        "steps_per_second": num_steps / min(seconds),
        "median_steps_per_second": num_steps / float(np.median(seconds)),
        "images_per_second": num_steps * batch_size / min(seconds),
        "compile_seconds": max(first_seconds - float(np.median(seconds)), 0.0),
    }


def seconds_of(epoch) -> float:
    """Of one epoch, waited for."""
    start = time.perf_counter()
    jax.block_until_ready(epoch())
    return time.perf_counter() - start


def shares(row: dict, limits: roofline.Limits) -> dict:
    """What it makes of the machine in float32; of half precision that says nothing."""
    found = limits.shares(row["steps_per_second"])
    return dict.fromkeys(found) if row["method"] in (HALF, TORCH_HALF) else found


def shown(row: dict):
    """A row as it is printed."""
    for name, value in row.items():
        yield name, f"{value:,.3g}" if isinstance(value, float) else value


def ratios(rows: list[dict]) -> dict[int, dict[str, float]]:
    """Batch size -> peer -> how many times its rate ours is."""
    rates = {(row["batch_size"], row["method"]): row["steps_per_second"] for row in rows}
    found = {}
    for (batch_size, name), rate in rates.items():
        if name != OURS:
            found.setdefault(batch_size, {})[name] = rates[batch_size, OURS] / rate
    return found


def figure(rows: list[dict]):
    """Steps per second of all methods, a panel for each batch size."""
    names = list(dict.fromkeys(row["method"] for row in rows))
    sizes = list(dict.fromkeys(row["batch_size"] for row in rows))
    found = {(row["batch_size"], row["method"]): row for row in rows}

    def table(field):
        return np.array([[found[size, name][field] for name in names] for size in sizes])

    return plots.rate_panels(
        names,
        table("steps_per_second"),
        table("median_steps_per_second"),
        panels=[f"batch {size}" for size in sizes],
        title="Training the seed VAE",
        unit="steps / s",
    )


def summary(rows: list[dict], config: dict) -> str:
    """The answer in one line."""
    num_seeds, parts = config["num_seeds"], []
    for batch_size, of_peers in ratios(rows).items():
        cost, fresh = num_seeds * of_peers.pop(AT_ONCE), of_peers.pop(FRESH)
        half = 1 / of_peers.pop(HALF)
        if TORCH_HALF in of_peers:
            of_torch = of_peers.pop(TORCH_HALF) * half
            halves = f"bfloat16 {half:.2f} times float32 and {of_torch:.2f} times PyTorch's"
        else:
            halves = f"bfloat16 {half:.2f} times float32"
        peers = ", ".join(f"{ratio:.2f} x {name}" for name, ratio in of_peers.items())
        ours = next(r for r in rows if (r["batch_size"], r["method"]) == (batch_size, OURS))
        peak = ours["peak_mebibytes"]
        memory = "" if peak is None else f"{peak:.0f} MiB, "
        parts.append(
            f"batch {batch_size}: {ours['steps_per_second']:.0f} steps/s, {peers}, "
            f"{ours['share_of_gemm']:.0%} of the products' ceiling, "
            f"{ours['share_of_roofline']:.0%} of the roofline "
            f"({ours['share_of_own_products']:.0%} with the products' own shapes), "
            f"{memory}fresh bits cost {fresh - 1:.0%} "
            f"more, {num_seeds} seeds at once {cost:.2f} times one, {halves}"
        )
    return "; ".join(parts)


if __name__ == "__main__":
    main(tyro.cli(Benchmark))
