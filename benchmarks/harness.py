"""What every benchmark needs: seconds apart from compiling, the machine's ceiling, one JSON file.

A benchmark is a script that answers one question. It imports this file, prints as it goes, and ends
with `write`, whose last printed line is the answer.
"""

import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from vae_jax import provenance, records
from vae_jax.timing import timed

NUM_PRODUCTS = 8
"""Matrix products in one timed call, so that its start-up costs do not count."""

NUM_UPDATES = 100
"""Updates in one timed call, so that the memory it is given is not what counts."""


class Measurement(NamedTuple):
    """What a call took, best and typical.

    Attributes:
        result: what the first call returned, ready.
        min_seconds: the fastest repeat, without compiling.
        median_seconds: the median repeat, without compiling.
        first_seconds: the first call, compiling included.
        compile_seconds: tracing, lowering and compiling in the first call.
        recompile_seconds: the same in a repeat, mean; 0 where nothing is traced again.
    """

    result: Any
    min_seconds: float
    median_seconds: float
    first_seconds: float
    compile_seconds: float
    recompile_seconds: float


def measure(
    function: Callable[[], Any], *, repeats: int = 5, recompiles: bool = False
) -> Measurement:
    """Call once to compile, then `repeats` times, waiting for the arrays each time.

    Args:
        function: takes nothing; returns a pytree of arrays.
        repeats: calls that are timed.
        recompiles: allow repeats that trace again, as some peers do at every call.

    Returns:
        A Measurement.

    Raises:
        ValueError: no repeats.
        RuntimeError: a repeat traced again and `recompiles` does not say so.
    """
    if repeats < 1:
        raise ValueError(f"repeats is {repeats}: expected at least 1")
    first = timed(function)
    runs = [timed(function) for _ in range(repeats)]
    recompile_seconds = statistics.fmean(run.compile_seconds for run in runs)
    if recompile_seconds > 0 and not recompiles:
        raise RuntimeError(
            f"a repeat spent {recompile_seconds:.3f} s on compiling again: expected one compile; "
            "make the jitted function once, outside the call"
        )
    seconds = [run.seconds for run in runs]
    return Measurement(
        first.result,
        min(seconds),
        statistics.median(seconds),
        first.seconds + first.compile_seconds,
        first.compile_seconds,
        recompile_seconds,
    )


def memory_growth(function: Callable[[], Any]) -> float | None:
    """MiB by which the process's memory rises above what it holds, at most, while a call runs.

    Args:
        function: takes nothing; returns a pytree of arrays.

    Returns:
        The rise, compiling included where the call compiles; None where the kernel does not tell.
    """
    try:
        Path("/proc/self/clear_refs").write_text("5")  # forgets the peak so far
        before = _resident_mebibytes("VmRSS")
    except OSError:
        before = None
    jax.block_until_ready(function())
    return None if before is None else max(_resident_mebibytes("VmHWM") - before, 0.0)


def _resident_mebibytes(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith(field))) / 1024


def gemm_ceiling(*, size: int = 2048, repeats: int = 5) -> float:
    """GFLOP/s of float32 matrix products, the ceiling of everything made of dense layers.

    At jax's default precision, at which the models run too (TF32 on recent GPUs, bfloat16 passes on
    TPUs). 2 size^3 operations a product, the fastest of the repeats.

    Args:
        size: of the square matrices.
        repeats: timed calls of `NUM_PRODUCTS` products each.

    Returns:
        Billions of floating-point operations per second.
    """
    # Scaled so that products keep the size of their entries.
    matrix = jax.random.normal(jax.random.key(0), (size, size), jnp.float32) / size**0.5
    seconds = measure(lambda: _products(matrix), repeats=repeats).min_seconds
    return NUM_PRODUCTS * 2 * size**3 / seconds / 1e9


def memory_bandwidth(num_params: int, *, repeats: int = 5) -> float:
    """GB/s of an update in place that reads four arrays and writes three, as Adam's does.

    Args:
        num_params: floats in each array: those of the model, for what fits a cache moves faster.
        repeats: timed calls of `NUM_UPDATES` updates each.
    """
    gradient = jnp.ones(num_params, jnp.float32)
    seconds = measure(lambda: _updates(gradient), repeats=repeats).min_seconds
    return NUM_UPDATES * 7 * gradient.nbytes / seconds / 1e9


@jax.jit
def _updates(gradient):
    def update(_, arrays):
        params, first, second = arrays
        first = 0.9 * first + 0.1 * gradient
        second = 0.9 * second + 0.1 * gradient**2
        return params - 1e-3 * first * second, first, second

    arrays = tuple(0 * gradient for _ in range(3))
    return jax.lax.fori_loop(0, NUM_UPDATES, update, arrays)


@jax.jit
def _products(matrix):
    return jax.lax.fori_loop(0, NUM_PRODUCTS, lambda _, product: product @ matrix, matrix)


def write(
    folder: str | Path | None, name: str, rows: list[dict], meta: dict, *, summary: str
) -> Path | None:
    """Write FOLDER/NAME.json and end the benchmark with its answer as the last printed line.

    Args:
        folder: the benchmark's --out, made if need be; None writes no file.
        name: of the benchmark.
        rows: what was measured, one dict each.
        meta: from `vae_jax.provenance.meta`: command, config, device, versions, git, seconds.
        summary: the answer in one line.

    Returns:
        The path of the file, or None.

    Raises:
        ValueError: the meta lacks what a number needs to be repeated, or the summary has lines.
    """
    missing = {"command", "config", "device", "git", "versions"} - meta.keys()
    if missing:
        raise ValueError(f"meta lacks {', '.join(sorted(missing))}: use vae_jax.provenance.meta")
    if "\n" in summary:
        raise ValueError(f"summary is {summary!r}: expected one line")
    path = None if folder is None else Path(folder) / f"{name}.json"
    if path is not None:
        records.write_json(path, provenance.results({**meta, "summary": summary}, rows))
    print(summary, flush=True)
    return path
