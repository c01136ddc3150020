"""Several processes of one run: start them, and keep them together.

Every process runs the whole script on the same arguments, and the devices of all form one mesh.
Process 0 alone prints and writes. `bayes_jax` is imported late: BlackJAX computes something when it
is, and then the processes could not join any more.
"""

import hashlib
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from vae_jax.configs import ConfigError, DistributedConfig


def start(config: DistributedConfig) -> None:
    """Join the other processes, if the config asks for it; before jax has computed anything.

    Args:
        config: who is who; where it does not say, the environment does (Slurm, Open MPI, GKE,
            Cloud TPU).

    Raises:
        ConfigError: an environment that says nothing, or jax in use already.
    """
    if not config.distributed:
        return
    # A service for clusters that preempt would swallow SIGTERM, which we obey.
    jax.config.update("jax_enable_preemption_service", False)
    try:
        jax.distributed.initialize(config.coordinator, config.num_processes, config.process_id)
    except (ValueError, RuntimeError) as error:
        raise ConfigError(
            f"distributed: {error}; expected Slurm, Open MPI, GKE or Cloud TPU, or coordinator, "
            "num_processes and process_id"
        ) from error


def is_first() -> bool:
    """Whether this process prints and writes: one of several does."""
    return jax.process_index() == 0


def are_several() -> bool:
    """Whether there are others beside this process."""
    return jax.process_count() > 1


def wait_for_all(name: str) -> None:
    """Go on when every process has come here, so that what was written before can be read.

    Args:
        name: of the place, the same for all.
    """
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(name)


def largest(number: int) -> int:
    """The largest of the numbers that the processes call this with: all go the same way.

    Args:
        number: of this process.
    """
    if jax.process_count() == 1:
        return number
    return int(np.max(multihost_utils.process_allgather(np.int32(number))))


def check_alike(contents: Callable[[], dict[str, Any]]) -> None:
    """Refuse to compute together from what is not the same in all processes.

    Args:
        contents: name of each -> what JSON can hold, arrays as their digests; called only where
            there are several processes, all of which have the same names.

    Raises:
        InputError: in every process, naming what differs.
    """
    if jax.process_count() == 1:
        return
    from bayes_jax.errors import InputError
    from vae_jax.records import to_json

    ours = contents()
    digests = [hashlib.sha256(to_json(content)).digest() for content in ours.values()]
    rows = np.stack([np.frombuffer(digest, np.uint8) for digest in digests])
    everyones = np.asarray(multihost_utils.process_allgather(rows))
    different = np.any(everyones != everyones[0], axis=(0, 2))
    if np.any(different):
        names = " and ".join(np.array(list(ours))[different])
        raise InputError(
            f"not the same in all processes: {names}; expected the same command, data and folders, "
            "and machines of one kind"
        )


def check_same(number: int, what: str) -> None:
    """Refuse to go on from different places.

    Args:
        number: of this process.
        what: it counts.

    Raises:
        InputError: in every process, where one has another number.
    """
    from bayes_jax.errors import InputError

    if largest(number) != -largest(-number):
        raise InputError(
            f"{what} is not the same in all processes: expected folders that all of them share"
        )
