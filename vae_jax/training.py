"""The only training loop, over any `System`.

One epoch is one compiled `lax.scan` over data that stay on the device (uint8 stays uint8 there).
Batches have a fixed size: every epoch draws a new permutation and leaves out its remainder, which
is another one each time. The epoch and step numbers are the only clock (keys are folded from them),
so a resumed run repeats an unbroken one bit by bit on the same machine.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from bayes_jax.errors import InputError
from bayes_jax.model import check_observations
from vae_jax import schedules
from vae_jax.configs import TrainConfig
from vae_jax.systems.base import System

EVALUATION_BATCH = 1000
"""Most examples in memory at once when a whole split is evaluated."""


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
        validation: means over the validation split, nats per example.
        is_best: whether the validation objective is the best so far.
        seconds: wall time of the epoch, validation included (the first one compiles).
        progress: to save for resuming, before the callback returns: the next epoch reuses its
            memory. None in a history.
    """

    epoch: int
    train: dict[str, float]
    validation: dict[str, float]
    is_best: bool
    seconds: float
    progress: Progress | None


class FitResult(NamedTuple):
    """A finished run.

    Attributes:
        state: of the system, at the best validation objective.
        history: one report per epoch run here.
        best_epoch: the epoch of `state`, counted from 1.
        num_epochs: epochs completed, those before a resume included.
        seconds: wall time spent here, compilation included.
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
        result: the `FitResult` up to the last good epoch, with the best state so far.
    """

    def __init__(self, message: str, result: FitResult):
        super().__init__(message)
        self.result = result


def fit(
    key: PRNGKeyArray,
    system: System,
    train: Any,
    validation: Any,
    config: TrainConfig,
    *,
    on_epoch: Callable[[EpochReport], None] | None = None,
    resume_from: Progress | None = None,
) -> FitResult:
    """Train a system until its validation objective stops improving, and keep the best state.

    Exact systems (those with `fit`) are fitted in one go and reported as one epoch.

    Args:
        key: of initialisation, order and noise; the same key repeats the same run.
        system: what to train.
        train: `[num, dim]`, uint8 or float.
        validation: `[num, dim]`, the same.
        config: epochs, batch size, learning rate, patience.
        on_epoch: called after every epoch, for progress bars and metric files.
        resume_from: a restored `Progress` (see `checkpoints`); None starts anew.

    Returns:
        The best state and the history.

    Raises:
        InputError: data that cannot be used, or fewer examples than one batch.
        NonFiniteError: a metric or the state stopped being finite; it carries the result so far.
    """
    start = time.perf_counter()
    train, validation = _on_device("train", train), _on_device("validation", validation)
    on_epoch = on_epoch or (lambda report: None)
    if system.fit is not None:
        return _fit_exact(key, system, train, validation, on_epoch, start)
    num_examples = jax.tree.leaves(train)[0].shape[0]
    if config.batch_size > num_examples:
        raise InputError(
            f"batch_size is {config.batch_size}, the training data hold {num_examples} examples: "
            f"expected a batch_size of at most {num_examples}"
        )
    return _fit_epochs(key, system, train, validation, config, on_epoch, resume_from, start)


def initial_progress(key: PRNGKeyArray, system: System, train: Any) -> Progress:
    """Where `fit` starts; `jax.eval_shape` of it is the abstract tree to restore a checkpoint into.

    Args:
        key: as given to `fit`.
        system: a gradient system.
        train: the training data.

    Returns:
        Progress after zero epochs.
    """
    state = _initial_state(_keys(key)[0], train, init=system.init)
    return Progress(state, _copy(state), np.int32(0), np.int32(0), np.float32(-np.inf))


def is_finished(progress: Progress, config: TrainConfig) -> bool:
    """Whether `fit` would train no further: all epochs done, or patience used up.

    Args:
        progress: where the run stands.
        config: of the loop.

    Returns:
        True or False.
    """
    waited = int(progress.epoch) - int(progress.best_epoch)
    return int(progress.epoch) >= config.num_epochs or waited >= config.patience


@partial(jax.jit, static_argnames=("step", "batch_size"), donate_argnums=0)
def train_epoch(
    state: PyTree,
    key: PRNGKeyArray,
    data: Any,
    learning_rate: float | Float[Array, ""],
    *,
    step: Callable,
    batch_size: int,
) -> tuple[PyTree, dict, Array]:
    """One pass over the data in a new order, as one compiled scan; the remainder is left out.

    Args:
        state: of the system; its memory is given to the new one.
        key: of the order and of the noise.
        data: `[num, ...]` on the device.
        learning_rate: of every step.
        step: the system's.
        batch_size: examples per step.

    Returns:
        The new state, the means of the steps' metrics, and whether all of the state is finite.
    """
    key_order, key_steps = jax.random.split(key)
    num_examples = jax.tree.leaves(data)[0].shape[0]
    num_steps = num_examples // batch_size
    order = jax.random.permutation(key_order, num_examples)[: num_steps * batch_size]

    def one_step(state, inputs):
        index, rows = inputs
        batch = _take(data, rows)
        key_step = jax.random.fold_in(key_steps, index)
        return step(state, key_step, batch, learning_rate=learning_rate)

    inputs = jnp.arange(num_steps), order.reshape(num_steps, batch_size)
    state, metrics = jax.lax.scan(one_step, state, inputs)
    # One bad step makes its mean bad; the state shows what the very last update did.
    return state, jax.tree.map(jnp.mean, metrics), _all_finite(state)


@partial(jax.jit, static_argnames=("step", "batch_size"), donate_argnums=0)
def train_epochs(
    states: PyTree,
    keys: PRNGKeyArray,
    data: Any,
    learning_rates: Float[Array, " seed"],
    *,
    step: Callable,
    batch_size: int,
) -> tuple[PyTree, dict, Array]:
    """`train_epoch` of many seeds or learning rates of one system at once.

    Args:
        states: one for each seed, stacked; their memory is given to the new ones.
        keys: `[seed]`; each seed has its own order and noise.
        data: `[num, ...]` on the device, shared.
        learning_rates: of every step of a seed.
        step: the system's.
        batch_size: examples per step and seed.

    Returns:
        As `train_epoch`, leaves `[seed, ...]`.
    """
    one = partial(train_epoch, step=step, batch_size=batch_size)
    return jax.vmap(one, (0, 0, None, 0))(states, keys, data, learning_rates)


def evaluate(
    key: PRNGKeyArray,
    system: System,
    state: PyTree,
    data: Any,
    *,
    batch_size: int = EVALUATION_BATCH,
) -> dict[str, Float[Array, " num"]]:
    """The metrics of every example of a split, unreduced; a ragged last batch is exact.

    Args:
        key: of the noise in the metrics.
        system: a gradient system.
        state: of the system.
        data: `[num, dim]`.
        batch_size: most examples in memory at once.

    Returns:
        Metric name -> `[num]` in nats per example.
    """
    data = jax.tree.map(jnp.asarray, data)
    return _evaluate(state, key, data, evaluate=system.evaluate, batch_size=batch_size)


def _fit_epochs(key, system, train, validation, config, on_epoch, resume_from, start):
    _, key_epochs, key_validation = _keys(key)
    progress = _copy(resume_from) if resume_from else initial_progress(key, system, train)
    _check_support(system, progress.state, train, validation)
    history = []

    def result():
        return FitResult(
            progress.best_state,
            tuple(history),
            int(progress.best_epoch),
            int(progress.epoch),
            time.perf_counter() - start,
            progress,
        )

    def last_good():
        # The state before this epoch gave its memory to the next: the best one is what is left.
        best = _copy(progress.best_state)
        resumable = progress._replace(state=best, epoch=progress.best_epoch)
        return result()._replace(progress=resumable)

    while not is_finished(progress, config):
        epoch_start = time.perf_counter()
        epoch = int(progress.epoch) + 1
        state, train_metrics, state_is_finite = train_epoch(
            progress.state,
            jax.random.fold_in(key_epochs, epoch),
            train,
            schedules.learning_rate(config, epoch),
            step=system.step,
            batch_size=config.batch_size,
        )
        values = evaluate(key_validation, system, state, validation)
        metrics = _floats(train_metrics), _floats(values)
        _check_finite(epoch, *metrics, bool(state_is_finite), last_good)
        progress = _advance(progress, state, metrics[1]["objective"])
        is_best = int(progress.best_epoch) == epoch
        seconds = time.perf_counter() - epoch_start
        report = EpochReport(epoch, *metrics, is_best, seconds, progress)
        on_epoch(report)
        history.append(report._replace(progress=None))
    return result()


def _fit_exact(key, system, train, validation, on_epoch, start):
    key_fit, key_validation, _ = _keys(key)
    state = system.fit(key_fit, _as_float(train))
    evidence = system.generative(state).log_evidence(key_validation, _as_float(validation))
    seconds = time.perf_counter() - start
    report = EpochReport(1, {}, _floats({"objective": evidence.lower}), True, seconds, None)
    on_epoch(report)
    return FitResult(state, (report,), 1, 1, seconds, None)


@partial(jax.jit, static_argnames=("evaluate", "batch_size"))
def _evaluate(state, key, data, *, evaluate, batch_size):
    num_examples = jax.tree.leaves(data)[0].shape[0]
    num_batches = -(-num_examples // batch_size)
    batch_size = -(-num_examples // num_batches)
    # The padding repeats the last example, and its metrics are cut off below.
    rows = jnp.minimum(jnp.arange(num_batches * batch_size), num_examples - 1)

    def one_batch(inputs):
        index, rows = inputs
        return evaluate(state, jax.random.fold_in(key, index), _take(data, rows))

    inputs = jnp.arange(num_batches), rows.reshape(num_batches, batch_size)
    metrics = jax.lax.map(one_batch, inputs)
    return jax.tree.map(lambda values: values.reshape(-1)[:num_examples], metrics)


@partial(jax.jit, static_argnames="init")
def _initial_state(key, data, *, init):
    return init(key, data)


def _advance(progress, state, objective) -> Progress:
    epoch = np.int32(progress.epoch + 1)
    if objective > float(progress.best_objective):
        # A copy, because the next epoch donates the state.
        return Progress(state, _copy(state), epoch, epoch, np.float32(objective))
    return progress._replace(state=state, epoch=epoch)


def _check_finite(epoch, train_metrics, validation_metrics, state_is_finite, result) -> None:
    bad = [f"train {name}" for name, value in train_metrics.items() if not np.isfinite(value)]
    bad += [] if state_is_finite else ["the state after the last step"]
    bad += [
        f"validation {name}" for name, value in validation_metrics.items() if not np.isfinite(value)
    ]
    if bad:
        raise NonFiniteError(
            f"epoch {epoch}: {bad[0]} is not finite; the best state so far is kept: try a lower "
            "learning rate",
            result(),
        )


def _check_support(system, state, *splits) -> None:
    latent = system.generative(state).latent
    for data in splits if latent is not None else ():
        check_observations(latent, data)


def _on_device(name, data):
    data = jax.tree.map(jnp.asarray, data)
    leaves = jax.tree.leaves(data)
    if not leaves or any(leaf.ndim == 0 or leaf.shape[0] == 0 for leaf in leaves):
        raise InputError(f"the {name} data hold no examples: expected [num, ...] with num >= 1")
    if not all(bool(_all_finite(leaf)) for leaf in leaves):
        raise InputError(f"the {name} data hold NaN or infinity: expected finite values")
    return data


def _take(data, rows):
    return _as_float(jax.tree.map(lambda leaf: leaf[rows], data))


def _as_float(data):
    return jax.tree.map(
        lambda leaf: leaf.astype(jnp.float32) if leaf.dtype == jnp.uint8 else leaf, data
    )


@jax.jit
def _all_finite(tree):
    leaves = [leaf for leaf in jax.tree.leaves(tree) if jnp.issubdtype(leaf.dtype, jnp.inexact)]
    return jnp.all(jnp.array([jnp.all(jnp.isfinite(leaf)) for leaf in leaves] or [True]))


def _floats(metrics) -> dict[str, float]:
    """Means in float64, on the host."""
    host = jax.device_get(metrics)
    return {name: float(np.mean(values, dtype=np.float64)) for name, values in host.items()}


def _copy(tree):
    return jax.tree.map(jnp.array, tree)


def _keys(key):
    """Keys of initialisation, epochs and validation."""
    return jax.random.split(key, 3)
