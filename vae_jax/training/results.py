"""Where a run stands, what an epoch reports, and what a finished run gives back."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray, PyTree

from bayes_jax.errors import InputError
from vae_jax.configs import TrainConfig
from vae_jax.systems.base import System
from vae_jax.training import epochs


class Progress(NamedTuple):
    """Where a run stands: a pytree of arrays, all that resuming needs besides config and data.

    Attributes:
        state: of the system after the last epoch.
        best_state: of the system at the best validation objective.
        epoch: epochs completed, int32.
        best_epoch: the epoch of `best_state`, counted from 1; 0 is the initial state.
        best_objective: its mean validation objective in nats, float32.
    """

    state: PyTree
    best_state: PyTree
    epoch: Any
    best_epoch: Any
    best_objective: Any


class EpochReport(NamedTuple):
    """One epoch, as `on_epoch` sees it.

    Attributes:
        epoch: counted from 1.
        train: means over the epoch's steps, nats per example.
        validation: means over the validation split, nats per example; and what the system says of
            its latent units.
        is_best: whether the validation objective is the best so far.
        seconds: wall time of the epoch, validation included (the first one compiles); its share
            where seeds are trained at once.
        num_steps: updates made since the start of training.
        images_per_second: training images over `seconds`, of all seeds together.
        progress: call it for what is saved for resuming, before the callback returns: the next
            epoch reuses that memory. None in a history.
    """

    epoch: int
    train: dict[str, float]
    validation: dict[str, float | int | list[float]]
    is_best: bool
    seconds: float
    num_steps: int
    images_per_second: float
    progress: Callable[[], Progress] | None


class FitResult(NamedTuple):
    """A finished run.

    Attributes:
        state: of the system, at the best validation objective.
        history: one report per epoch run here.
        best_epoch: the epoch of `state`, counted from 1.
        num_epochs: epochs completed, those before a resume included.
        seconds: wall time spent here, compilation included; its share where seeds were trained at
            once.
        progress: to resume from, for more epochs; None after an exact fit.
    """

    state: PyTree
    history: tuple[EpochReport, ...]
    best_epoch: int
    num_epochs: int
    seconds: float
    progress: Progress | None


class NonFiniteError(InputError):
    """Training met NaN or infinity.

    Attributes:
        results: the `FitResult` of every seed; of one that went wrong, up to its last good epoch.
        faults: index of a seed that went wrong -> one line.
        result: that of the first of them.
    """

    def __init__(self, results: Sequence[FitResult], faults: dict[int, str], message: str = ""):
        index, fault = next(iter(faults.items()))
        super().__init__(message or fault)
        self.results, self.faults = tuple(results), faults
        self.result = self.results[index]


def initial_progress(key: PRNGKeyArray, system: System, train: Any) -> Progress:
    """Where `fit` starts; `jax.eval_shape` of it is the abstract tree to restore a checkpoint into.

    Args:
        key: as given to `fit`.
        system: a gradient system.
        train: the training data, as `systems.base.training_data` gives them.

    Returns:
        Progress after zero epochs.
    """
    state = epochs.initial_state(epochs.split_key(key).init, train, init=system.init)
    best = jax.tree.map(jnp.array, state)
    return Progress(state, best, np.int32(0), np.int32(0), np.float32(-np.inf))


def is_finished(progress: Progress, config: TrainConfig) -> bool | np.ndarray:
    """Whether `fit` would train no further: all epochs done, or patience used up.

    Args:
        progress: where the run stands.
        config: of the loop.

    Returns:
        True or False; an array of them for the stacked progress of many seeds.
    """
    epoch, best = np.asarray(progress.epoch), np.asarray(progress.best_epoch)
    finished = (epoch >= config.num_epochs) | (epoch - best >= config.patience)
    return finished if finished.ndim else bool(finished)
