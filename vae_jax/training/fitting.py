"""The loop: epochs until the validation objective stops improving, for one seed or many at once.

The epoch and step numbers are the only clock (keys are folded from them), so a resumed run repeats
an unbroken one bit by bit on the same machine. Inside, everything is stacked over seeds, and lies
on every device that a batch is spread over.
"""

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key, PRNGKeyArray

from bayes_jax.errors import InputError
from bayes_jax.model import check_density, check_observations
from vae_jax import schedules
from vae_jax.configs import TrainConfig
from vae_jax.resumption.leaves import digest
from vae_jax.sharding import placement, processes
from vae_jax.systems.base import System, training_data
from vae_jax.training import epochs, postmortem, streaming
from vae_jax.training.results import (
    EpochReport,
    FitResult,
    NonFiniteError,
    Progress,
    initial_progress,
    is_finished,
)


def fit(
    key: PRNGKeyArray,
    system: System,
    train: Any,
    validation: Any,
    config: TrainConfig,
    *,
    on_epoch: Callable[[EpochReport], None] | None = None,
    resume_from: Progress | None = None,
    debug_nans: bool = False,
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
        debug_nans: where training meets NaN, find the operation that made it.

    Returns:
        The best state and the history.

    Raises:
        InputError: data that cannot be used, fewer examples than one batch, or a batch that the
            devices of several processes do not divide.
        NonFiniteError: a metric or the state stopped being finite: in which step, and what; it
            carries the result up to the last good epoch.
    """
    (result,) = fit_seeds(
        key[None],
        system,
        train,
        validation,
        config,
        on_epoch=on_epoch and (lambda reports: on_epoch(reports[0])),
        resume_from=[resume_from],
        debug_nans=debug_nans,
    )
    return result


def fit_seeds(
    keys: Key[Array, " seed"],
    system: System,
    train: Any,
    validation: Any,
    config: TrainConfig,
    *,
    learning_rates: Sequence[float] | None = None,
    on_epoch: Callable[[tuple[EpochReport | None, ...]], None] | None = None,
    resume_from: Sequence[Progress | None] | None = None,
    debug_nans: bool = False,
) -> tuple[FitResult, ...]:
    """`fit` of one system from many seeds at once: what each alone would give, up to rounding.

    A seed that has stopped, or went wrong, stands still while the others go on; the program costs
    as much as before. Exact systems are fitted one after another.

    Args:
        keys: `[seed]`, one key each.
        system: what to train.
        train: as for `fit`, shared by all seeds.
        validation: the same.
        config: the same for all.
        learning_rates: of each seed, where they shall not be the config's.
        on_epoch: called after every epoch with a report for each seed, None for one that stopped.
        resume_from: where each seed stands; None starts it anew.
        debug_nans: as `fit`.

    Returns:
        One result for each seed.

    Raises:
        InputError: as `fit`.
        NonFiniteError: some seed stopped being finite; it carries the results of all.
    """
    start = time.perf_counter()
    with _home(system, config) as is_on_device:
        train = _usable("train", training_data(system, train), on_device=is_on_device)
    validation = _usable("validation", validation)[: system.num_watched]
    on_epoch = on_epoch or (lambda reports: None)
    if system.fit is not None:
        return _fit_exact(keys, system, train, validation, on_epoch)
    num_examples = jax.tree.leaves(train)[0].shape[0]
    if config.batch_size > num_examples:
        raise InputError(
            f"batch_size is {config.batch_size}, the training data hold {num_examples} examples: "
            f"expected a batch_size of at most {num_examples}"
        )
    mesh = placement.mesh_for_batches(config.batch_size)
    progress = _start(keys, system, train, validation, config, resume_from, mesh)
    validation = placement.replicate(validation, mesh)
    if is_on_device:
        train = placement.replicate(train, mesh)
    first_rates = learning_rates or [config.learning_rate] * len(keys)
    loops = [replace(config, learning_rate=rate) for rate in first_rates]
    progress, history, faults = _fit_epochs(
        keys, system, train, validation, loops, on_epoch, progress, mesh, debug_nans
    )
    seconds = (time.perf_counter() - start) / len(keys)
    results = tuple(
        _result(history[index], _of_seed(progress, index), seconds) for index in range(len(keys))
    )
    if faults:
        raise NonFiniteError(results, faults)
    return results


def _start(keys, system, train, validation, config, resume_from, mesh) -> Progress:
    with _home(system, config):
        each = [
            stands or initial_progress(key, system, train)
            for stands, key in zip(resume_from or [None] * len(keys), keys, strict=True)
        ]
        # Training data whose noise is drawn anew are no observations yet.
        splits = {"validation": validation}
        if system.observe is None:
            splits = {"train": train["x"] if system.is_indexed else train} | splits
        _check_support(system, each[0].state, splits)
    stacked = _stack(each)
    processes.check_alike(lambda: {"the state that training starts from": digest(stacked)})
    return stacked._replace(
        state=placement.replicate(stacked.state, mesh),
        best_state=placement.replicate(stacked.best_state, mesh),
    )


def _fit_epochs(keys, system, train, validation, loops, on_epoch, progress, mesh, debug_nans):
    """The last progress, the history of each seed, and index -> fault of those that went wrong."""
    config = loops[0]  # they differ in their rates alone
    of_run = jax.vmap(epochs.split_key)(keys)
    history, faults = tuple([] for _ in keys), {}

    def is_active():
        return ~is_finished(progress, config) & ~np.isin(np.arange(len(keys)), list(faults))

    while np.any(active := is_active()):
        epoch_start = time.perf_counter()
        before = jax.tree.map(jnp.copy, progress.state)  # an epoch takes over the memory of its own
        state, is_good, *means = _one_epoch(
            progress, active, of_run, system, train, validation, loops, mesh
        )
        if found := _faults(progress, active, is_good, *means):
            explain = partial(_explain, before, progress, of_run, system, train, loops, debug_nans)
            faults |= {index: explain(index, what) for index, what in found.items()}
            state = _choose(np.isin(np.arange(len(keys)), list(found)), before, state)
        active = is_active()
        progress = _advance(progress, active, state, means[1])
        if np.any(active):
            seconds = (time.perf_counter() - epoch_start) / np.sum(active)
            steps = jax.tree.leaves(train)[0].shape[0] // config.batch_size
            reports = _reports(
                progress, active, *means, seconds=seconds, steps=steps, batch_size=config.batch_size
            )
            on_epoch(reports)
            for past, report in zip(history, reports, strict=True):
                past += [report._replace(progress=None)] if report else []
    return progress, history, faults


def _one_epoch(progress, active, of_run, system, train, validation, loops, mesh):
    """The new state, whether it is finite, and the means of training and validation."""
    numbers, config = progress.epoch + 1, loops[0]
    train_epochs = epochs.train_epochs
    if config.stream_steps:
        train_epochs = partial(streaming.train_epochs, stream_steps=config.stream_steps)
    state, of_steps, is_good = train_epochs(
        progress.state,
        jax.vmap(jax.random.fold_in)(of_run.epochs, numbers),
        train,
        _rates(loops, numbers),
        active,
        step=system.step,
        batch_size=config.batch_size,
        mesh=mesh,
    )
    values = epochs.evaluate_seeds(
        state, of_run.validation, validation, evaluate=system.evaluate, mesh=mesh
    )
    return (
        state,
        np.asarray(is_good),
        _summaries(of_steps, _means),
        _summaries(values, system.summarise or _means),
    )


def _rates(loops, numbers):
    rates = map(schedules.learning_rate, loops, map(int, numbers))
    return np.fromiter(rates, np.float32)


def _advance(progress, active, state, validation) -> Progress:
    objective = np.asarray([means["objective"] for means in validation], np.float32)
    is_better = active & (objective > progress.best_objective)
    epoch = progress.epoch + active.astype(np.int32)
    best_state = progress.best_state
    return Progress(
        state,
        _choose(is_better, state, best_state) if np.any(is_better) else best_state,
        epoch,
        np.where(is_better, epoch, progress.best_epoch),
        np.where(is_better, objective, progress.best_objective),
    )


@jax.jit
def _choose(is_first, first, second):
    """Of each seed the first state or the second."""

    def choose(one, other):
        return jnp.where(is_first.reshape(-1, *(1,) * (one.ndim - 1)), one, other)

    return jax.tree.map(choose, first, second)


def _reports(progress, active, train, validation, *, seconds, steps, batch_size):
    return tuple(
        EpochReport(
            int(progress.epoch[index]),
            train[index],
            validation[index],
            bool(progress.best_epoch[index] == progress.epoch[index]),
            float(seconds),
            int(progress.epoch[index]) * steps,
            float(steps * batch_size / seconds),
            partial(_of_seed, progress, index),
        )
        if is_active
        else None
        for index, is_active in enumerate(active)
    )


def _result(history, progress, seconds) -> FitResult:
    epoch, best_epoch = int(progress.epoch), int(progress.best_epoch)
    return FitResult(progress.best_state, tuple(history), best_epoch, epoch, seconds, progress)


def _faults(progress, active, is_good, train, validation) -> dict[int, str]:
    """Seed -> what its epoch ended with that is not finite."""
    faults = {}
    for index in map(int, np.flatnonzero(active)):
        bad = [f"train {name}" for name, value in train[index].items() if not np.isfinite(value)]
        bad += [] if is_good[index] else ["the state after the last step"]
        bad += [
            f"validation {name}"
            for name, value in validation[index].items()
            if not np.all(np.isfinite(value))
        ]
        if bad:
            faults[index] = bad[0]
    return faults


def _explain(before, progress, of_run, system, train, loops, debug_nans, index, what) -> str:
    """One line on a seed whose epoch ended badly: the step, and the first number that was bad."""
    number, fault = int(progress.epoch[index]) + 1, None
    if not what.startswith("validation"):
        fault = postmortem.examine(
            _of_seed(before, index),
            jax.random.fold_in(of_run.epochs[index], number),
            placement.local(train),
            schedules.learning_rate(loops[index], number),
            step=system.step,
            batch_size=loops[index].batch_size,
            debug_nans=debug_nans,
        )
    where = f", {fault}" if fault else f": {what} is not finite"
    kept = f"the state after epoch {number - 1} is kept" if number > 1 else "nothing is kept"
    return f"epoch {number}{where}; {kept}: try a lower learning rate"


def _fit_exact(keys, system, train, validation, on_epoch):
    results, faults = [], {}
    for index, key in enumerate(keys):
        result, fault = _fit_once(key, system, train, validation)
        processes.check_alike(lambda state=result.state: {"the fitted state": digest(state)})
        results.append(result)
        if fault:
            faults[index] = f"{fault} is no number; nothing is kept: expected data of another scale"
            continue
        (report,) = result.history
        on_epoch(tuple(report if other == index else None for other in range(len(keys))))
    if faults:
        raise NonFiniteError(results, faults)
    return tuple(results)


def _fit_once(key, system, train, validation) -> tuple[FitResult, str | None]:
    """What a fit without epochs gives, and what of it is NaN."""
    start, of_run = time.perf_counter(), epochs.split_key(key)
    state = system.fit(of_run.init, epochs.as_float(train))
    if leaf := postmortem.first_nan_leaf(state):
        return FitResult(state, (), 0, 0, time.perf_counter() - start, None), f"the fit: {leaf}"
    generative = system.generative(state)
    evidence = generative.log_evidence(of_run.validation, epochs.as_float(validation))
    seconds = time.perf_counter() - start
    objective = float(np.mean(np.asarray(evidence.lower), dtype=np.float64))
    rate = jax.tree.leaves(train)[0].shape[0] / seconds
    report = EpochReport(1, {}, {"objective": objective}, True, seconds, 1, rate, None)
    fault = "the fit: validation objective" if np.isnan(objective) else None
    return FitResult(state, (report,), 1, int(fault is None), seconds, None), fault


def _check_support(system, state, splits) -> None:
    generative = system.generative(state)
    if generative.latent is not None:
        check = partial(check_observations, generative.latent)
    elif generative.density is not None:
        check = partial(check_density, generative.density)
    else:
        return
    for name, data in splits.items():
        try:
            check(data)
        except InputError as error:
            raise InputError(
                f"{name}: {error}; expected an observation (the spec's head) that fits the data"
            ) from None


@contextlib.contextmanager
def _home(system, config):
    """Where all training data are looked at: on the device, or on the host if they are streamed."""
    is_on_device = config.stream_steps == 0 or system.fit is not None
    host = None if is_on_device else jax.local_devices(backend="cpu")[0]
    with jax.default_device(host):
        yield is_on_device


def _usable(name, data, *, on_device=True):
    """The data as arrays of the device, or of the host."""
    data = jax.tree.map(jnp.asarray if on_device else np.asarray, data)
    leaves = jax.tree.leaves(data)
    if not leaves or any(leaf.ndim == 0 or leaf.shape[0] == 0 for leaf in leaves):
        raise InputError(f"the {name} data hold no examples: expected [num, ...] with num >= 1")
    if not all(bool(epochs.all_finite(leaf)) for leaf in leaves):
        raise InputError(f"the {name} data hold NaN or infinity: expected finite values")
    return data


def _stack(each: Sequence[Progress]) -> Progress:
    """States on the device, clocks on the host; a copy, for each epoch takes over its memory."""
    clocks = {
        name: np.asarray([getattr(one, name) for one in each])
        for name in ("epoch", "best_epoch", "best_objective")
    }
    states = {
        name: jax.tree.map(lambda *leaves: jnp.stack(leaves), *[getattr(one, name) for one in each])
        for name in ("state", "best_state")
    }
    return Progress(**states, **clocks)


def _of_seed(stacked, index: int):
    return jax.tree.map(lambda leaf: placement.local(leaf)[index], stacked)


def _summaries(metrics, summarise) -> list[dict]:
    """For each seed, on the host."""
    host = jax.device_get(metrics)
    num_seeds = len(next(iter(host.values())))
    return [
        summarise({name: values[index] for name, values in host.items()})
        for index in range(num_seeds)
    ]


def _means(metrics) -> dict[str, float]:
    return {name: float(np.mean(values, dtype=np.float64)) for name, values in metrics.items()}
