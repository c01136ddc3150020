"""The arrays of a state in a folder, by Orbax; the only place that knows it.

Nothing is checked here: `checkpoints` keeps a manifest of every file.
"""

import math
import os
import re
import tempfile
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

_MOST_BESIDE_STATE = 2**16  # bytes of Orbax's own files and of a manifest


def write(path: Path, state: PyTree) -> None:
    """Write arrays into a folder; one of several processes may do so alone.

    Args:
        path: a folder that is not there yet.
        state: a pytree of arrays.

    Raises:
        OSError: no room, or no permission.
    """
    _check_room(path, sum(leaf.nbytes for leaf in jax.tree.leaves(state)))
    try:
        _save_by_orbax(path, jax.tree.map(_stand_in, state))
    except ValueError as error:
        if number := re.search(r"os_error_code='(\d+)'", str(error)):
            code = int(number.group(1))
            raise OSError(code, os.strerror(code), str(path)) from error
        raise


def read(path: Path, abstract_state: PyTree) -> PyTree:
    """Read arrays back, as uncommitted ones of the default device.

    Args:
        path: of `write`.
        abstract_state: the same structure, with the shapes and dtypes that lie there.
    """
    sharding = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    abstract = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(_stored_shape(leaf), leaf.dtype, sharding=sharding),
        abstract_state,
    )
    state = _load_by_orbax(path, abstract)
    # Orbax commits its arrays to a device, and what was compiled for uncommitted ones would compile
    # again for them: hence through the host.
    return jax.tree.map(_as_expected, state, abstract_state)


def _as_expected(leaf, expected):
    if math.prod(jnp.shape(expected)) == 0:
        return jnp.zeros(jnp.shape(expected), expected.dtype)
    return jnp.array(jax.device_get(leaf))


def _stand_in(leaf):
    """Orbax refuses arrays without elements."""
    return jnp.zeros(_stored_shape(leaf), leaf.dtype) if leaf.size == 0 else leaf


def _stored_shape(leaf) -> tuple[int, ...]:
    return (1,) if math.prod(jnp.shape(leaf)) == 0 else jnp.shape(leaf)


def _check_room(path: Path, num_bytes: int) -> None:
    """Reserve so much for a moment: threads that meet a full disk fill the screen with tracebacks.

    Raises:
        OSError: the disk has no room, or the user has none left.
    """
    if not hasattr(os, "posix_fallocate"):  # not on macOS
        return
    with tempfile.TemporaryFile(dir=path.parent) as file:
        try:
            os.posix_fallocate(file.fileno(), 0, num_bytes + _MOST_BESIDE_STATE)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(path)) from error


def _save_by_orbax(path: Path, state) -> None:
    from orbax.checkpoint import v1 as ocp  # a second to import

    if jax.process_count() == 1:
        ocp.save(path, state)
        return
    # v1 waits for all processes, whatever its options say; v0 writes the same files alone.
    import orbax.checkpoint as v0

    options = {"multiprocessing_options": v0.options.MultiprocessingOptions(**_alone())}
    with v0.Checkpointer(v0.PyTreeCheckpointHandler(**options), **options) as checkpointer:
        checkpointer.save(path, jax.device_get(state))


def _load_by_orbax(path: Path, abstract):
    from orbax.checkpoint import v1 as ocp

    if jax.process_count() == 1:
        return ocp.load(path, abstract)
    context = ocp.Context()
    for name, value in _alone().items():
        setattr(context.multiprocessing, name, value)
    with context:
        return ocp.load(path, abstract)


def _alone() -> dict[str, Any]:
    """Options of Orbax for a process that waits for no other."""
    this = jax.process_index()
    return {
        "primary_host": this,
        "active_processes": {this},
        "barrier_sync_key_prefix": f"process{this}",
    }
