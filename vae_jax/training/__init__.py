"""The only training loop, over any `System`, for one seed or many at once."""

from vae_jax.training.epochs import EVALUATION_BATCH, evaluate, train_epoch, train_epochs
from vae_jax.training.fitting import fit, fit_seeds
from vae_jax.training.results import (
    EpochReport,
    FitResult,
    NonFiniteError,
    Progress,
    initial_progress,
    is_finished,
)

__all__ = [
    "EVALUATION_BATCH",
    "EpochReport",
    "FitResult",
    "NonFiniteError",
    "Progress",
    "evaluate",
    "fit",
    "fit_seeds",
    "initial_progress",
    "is_finished",
    "train_epoch",
    "train_epochs",
]
