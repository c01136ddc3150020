"""All devices as one, and all processes: the only code that knows how many there are.

`observations` runs an engine of `bayes_jax` with the observations spread over the devices,
`placement` says where arrays lie, for training too, and `processes` starts several and keeps them
together. With one device and one process, all of it does nothing.
"""

from vae_jax.sharding.observations import gathering, over_observations
from vae_jax.sharding.placement import (
    everywhere,
    gather_rows,
    idle_devices,
    local,
    make_mesh,
    mesh_for_batches,
    replicate,
    spread,
)
from vae_jax.sharding.processes import check_same, is_first, largest, start, wait_for_all

__all__ = [
    "check_same",
    "everywhere",
    "gather_rows",
    "gathering",
    "idle_devices",
    "is_first",
    "largest",
    "local",
    "make_mesh",
    "mesh_for_batches",
    "over_observations",
    "replicate",
    "spread",
    "start",
    "wait_for_all",
]
