"""Where arrays lie: one mesh of all devices, rows spread over it, the rest on every device."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import Int, PyTree

from bayes_jax.errors import InputError

ROWS = "rows"
"""The one axis of the mesh: observations, or the examples of a batch."""


@functools.cache
def make_mesh(num_devices: int | None = None) -> Mesh:
    """The mesh of the first so many devices; of all devices of all processes, if None."""
    devices = jax.devices()[:num_devices]
    return jax.make_mesh((len(devices),), (ROWS,), devices=devices, axis_types=(AxisType.Auto,))


def mesh_for_batches(batch_size: int) -> Mesh | None:
    """The devices that a batch is spread over: the most, of those there are, that divide it.

    Args:
        batch_size: examples per step.

    Returns:
        The mesh; None for a single device, where nothing is to be placed.

    Raises:
        InputError: a batch that the devices of several processes do not divide: none of the
            processes may be left out.
    """
    num_devices = _num_used(batch_size)
    if jax.process_count() > 1 and num_devices < jax.device_count():
        raise InputError(
            f"batch_size is {batch_size}, the processes have {jax.device_count()} devices: "
            f"expected a multiple of {jax.device_count()}"
        )
    return None if num_devices == 1 else make_mesh(num_devices)


def idle_devices(batch_size: int) -> str | None:
    """One line for a person where a batch leaves devices of a process alone idle; else None."""
    num_devices, used = jax.device_count(), _num_used(batch_size)
    if used == num_devices or jax.process_count() > 1:
        return None
    return (
        f"batch_size {batch_size} uses {used} of {num_devices} devices: "
        f"a multiple of {num_devices} uses all"
    )


def _num_used(batch_size: int) -> int:
    return max(num for num in range(1, jax.device_count() + 1) if batch_size % num == 0)


def split(mesh: Mesh) -> NamedSharding:
    """Leaves `[batch, ...]` cut into as many parts as there are devices."""
    return NamedSharding(mesh, PartitionSpec(ROWS))


def replicate(tree: PyTree, mesh: Mesh | None) -> PyTree:
    """A copy of every array on every device.

    Args:
        tree: the same in every process.
        mesh: the devices; None leaves all as it is.
    """
    return tree if mesh is None else place(tree, NamedSharding(mesh, PartitionSpec()))


def place(tree: PyTree, sharding: NamedSharding) -> PyTree:
    """Arrays as a sharding wants them; each process sends what its own devices hold.

    Args:
        tree: the same in every process, or arrays of all processes already.
        sharding: where they shall lie.
    """
    return jax.tree.map(functools.partial(_place, sharding=sharding), tree)


def _place(leaf: Any, *, sharding: NamedSharding) -> jax.Array:
    if sharding.is_fully_addressable or not getattr(leaf, "is_fully_addressable", True):
        return jax.device_put(leaf, sharding)
    if jnp.issubdtype(jnp.result_type(leaf), jax.dtypes.prng_key):
        data = _place(jax.random.key_data(leaf), sharding=sharding)
        return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))
    host = np.asarray(leaf)
    host = host.astype(jax.dtypes.canonicalize_dtype(host.dtype))
    return jax.make_array_from_callback(host.shape, sharding, host.__getitem__)


def local(tree: PyTree) -> PyTree:
    """One copy of what lies on every device, on the default device of this process.

    Args:
        tree: of `replicate`, or of a function of such.
    """
    return jax.tree.map(_local, tree)


def _local(leaf):
    if not isinstance(leaf, jax.Array) or len(leaf.sharding.device_set) == 1:
        return leaf
    # Through the host: what was compiled for uncommitted arrays takes them as they are.
    return jnp.asarray(np.asarray(leaf.addressable_data(0)))


def gather_rows(data: PyTree, rows: Int[np.ndarray, "seed step batch"], mesh: Mesh | None):
    """`data[rows]` sent to the devices; each process gathers the rows of its own devices only.

    Args:
        data: numpy arrays `[num, ...]`.
        rows: what each step takes.
        mesh: the devices that a batch is spread over; None for the one there is.

    Returns:
        Leaves `[seed, step, batch, ...]`.
    """
    if mesh is None:
        return jax.device_put(jax.tree.map(lambda leaf: leaf[rows], data))
    sharding = NamedSharding(mesh, PartitionSpec(None, None, ROWS))

    def gathered(leaf):
        shape = (*rows.shape, *leaf.shape[1:])
        own = lambda index: leaf[rows[index[: rows.ndim]]]  # noqa: E731
        return jax.make_array_from_callback(shape, sharding, own)

    return jax.tree.map(gathered, data)


def spread(tree: PyTree, mesh: Mesh | None) -> PyTree:
    """Inside `jit`: leaves `[batch, ...]` spread over the devices."""
    return _constrained(tree, mesh, PartitionSpec(ROWS))


def everywhere(tree: PyTree, mesh: Mesh | None) -> PyTree:
    """Inside `jit`: all of every leaf on every device."""
    return _constrained(tree, mesh, PartitionSpec())


def _constrained(tree, mesh, spec):
    if mesh is None:
        return tree
    return jax.lax.with_sharding_constraint(tree, NamedSharding(mesh, spec))
