"""Posterior draws and annealed weights of a run's test images, as files for other programs."""

import io
from pathlib import Path

import numpy as np

from vae_jax.comparison.inferences import Finished
from vae_jax.records import write_bytes

DRAWS, WEIGHTS = "draws.npz", "weights.npz"


def write(folder: str | Path, finished: list[Finished]) -> list[Path]:
    """Write what MCMC and annealing drew, each file whole or not at all.

    `draws.npz`: `z` `[image, chain, draw, latent]`, `log_joint` (log p(x, z) in nats, `[image,
    chain, draw]`). `weights.npz`: `log_weight` in nats, `[image, chain]`. Both: `image`, the number
    of each image in the test split, `valid`, False for an image that went wrong, and `method`.

    Args:
        folder: where to.
        finished: of one run.

    Returns:
        The files, one for each kind of inference that ran.
    """
    contents = {DRAWS: _draws(finished), WEIGHTS: _weights(finished)}
    paths = {Path(folder) / name: arrays for name, arrays in contents.items() if arrays}
    for path, arrays in paths.items():
        write_bytes(path, _archive(arrays))
    return [*paths]


def _draws(finished: list[Finished]) -> dict:
    entry = next((e for e in finished if e.outcome.log_joint is not None), None)
    if entry is None:
        return {}
    log_joint = np.asarray(entry.outcome.log_joint)
    z = np.asarray(entry.outcome.draws).reshape(*log_joint.shape, -1)
    valid = entry.outcome.verdict.diagnostics.valid
    return {"z": z, "log_joint": log_joint, **_common(entry, valid)}


def _weights(finished: list[Finished]) -> dict:
    entry = next((e for e in finished if e.outcome.log_weight is not None), None)
    if entry is None:
        return {}
    log_weight = np.asarray(entry.outcome.log_weight)
    return {"log_weight": log_weight, **_common(entry, entry.outcome.evidence.valid)}


def _common(entry: Finished, valid) -> dict:
    valid, name = np.asarray(valid), np.array(entry.method.name)
    return {"image": np.arange(len(valid)), "valid": valid, "method": name}


def _archive(arrays: dict) -> bytes:
    content = io.BytesIO()
    np.savez(content, **arrays)
    return content.getvalue()
