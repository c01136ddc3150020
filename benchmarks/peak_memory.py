"""How much memory an epoch needs, compiling included: measured in a process that does nothing else.

What was allocated for one method would serve the next one in the same process.
"""

import contextlib
import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor

import harness
import jax
import jax.numpy as jnp
import numpy as np

# Before jax starts: a GPU has to have room for a second process.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")


def of_epoch(make: Callable, x: np.ndarray, batch_size: int) -> float | None:
    """MiB above the imported libraries: data, params, compiling, one epoch.

    Args:
        make: `(x, batch_size) -> epoch`, of a module that can be imported.
        x: the data.
        batch_size: examples per step.

    Returns:
        The memory of the host; on a GPU its own. None where the kernel does not tell.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context) as pool:
        return pool.submit(_of_epoch, make, x, batch_size).result()


def _of_epoch(make, x, batch_size):
    jax.block_until_ready(jnp.zeros(1))
    with contextlib.suppress(ImportError):
        import torch  # noqa: F401
    on_host = harness.memory_growth(lambda: make(x, batch_size)())
    return _on_gpu() if jax.default_backend() == "gpu" else on_host


def _on_gpu() -> float:
    """Of the two libraries the one that was used."""
    peak = jax.local_devices()[0].memory_stats()["peak_bytes_in_use"]
    with contextlib.suppress(ImportError):
        import torch

        peak = max(peak, torch.cuda.max_memory_allocated())
    return peak / 2**20
