"""What the checkpoints of a run hold, and whose they are."""

from pathlib import Path

import jax
import jax.numpy as jnp

from bayes_jax.errors import InputError
from vae_jax import checkpoints, training
from vae_jax.data.kinds import Record
from vae_jax.records import config_hash
from vae_jax.runs import CHECKPOINTS, CONFIG, RunConfig
from vae_jax.systems.base import System, training_data
from vae_jax.training import Progress


def restore(
    folder: Path, system: System, seen: Record, belongs: dict[str, str]
) -> tuple[Progress | None, dict[int, str]]:
    """The newest intact checkpoint, None before the first; and what is wrong with newer ones.

    Args:
        folder: of the run.
        system: of the run.
        seen: the record of its data.
        belongs: what the checkpoint has to be of, from `belongs_to`.

    Raises:
        InputError: no checkpoint that is intact, or one of another run.
    """
    step, damaged = checkpoints.find(folder / CHECKPOINTS)
    if step is None and not damaged:
        return None, damaged
    if step is not None:
        _check_belongs(folder, step, belongs)
    x = jax.ShapeDtypeStruct((seen.num_train, *seen.spec.event_shape), jnp.float32)
    batch = training_data(system, x)
    abstract = jax.eval_shape(
        lambda key, batch: training.initial_progress(key, system, batch), jax.random.key(0), batch
    )
    return checkpoints.restore(folder / CHECKPOINTS, abstract, step=step), damaged


def belongs_to(content: dict, name: str) -> dict[str, str]:
    """What a checkpoint is of: hashes of what the numbers of a run depend on.

    Args:
        content: of config.json.
        name: of the record of its data.
    """
    config = {part: content.get(part) for part in RunConfig._fields}
    return {"config": config_hash(config), name: config_hash(content[name])}


def _check_belongs(folder: Path, step: int, belongs: dict[str, str]) -> None:
    """Refuse a checkpoint of another run; an older one does not say what data it saw."""
    about = checkpoints.recall_about(folder / CHECKPOINTS, step)
    if other := [part for part, digest in belongs.items() if about.get(part, digest) != digest]:
        raise InputError(
            f"{folder / CHECKPOINTS / str(step)} was saved beside another {' and '.join(other)} "
            f"than {folder / CONFIG} holds: put that file back, or train anew with --overwrite"
        )


def is_finished(system: System, progress: Progress, config: RunConfig) -> bool:
    """Whether training came to its end; an exact fit has no other."""
    return system.fit is not None or training.is_finished(progress, config.train)
