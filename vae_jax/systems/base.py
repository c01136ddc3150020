"""What the one training loop trains: a NamedTuple of pure functions."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from bayes_jax.errors import InputError


class System(NamedTuple):
    """One model family, ready to be trained. Gradient systems give init, step and evaluate; exact
    ones (closed form, EM) give init and fit.

    Builders are cached: equal configs give the same functions, so nothing compiles twice.

    Attributes:
        generative: `state -> GenerativeModel`.
        init: `(key, batch) -> state`; the loop passes all training data as the batch, from which
            pixel means may be taken. An exact system's has the shapes of what `fit` gives, so that
            checkpoints of either kind can be restored.
        step: `(state, key, batch, *, learning_rate) -> (state, metrics)`, metrics a dict of
            scalars, pure; the learning rate is a traced scalar that the loop owns.
        evaluate: `(state, key, batch) -> metrics`, a dict of arrays `[batch, ...]`, in nats per
            example; "objective" is what validation watches (higher is better).
        summarise: metrics of a whole split, on the host -> what an epoch reports of it; None takes
            the mean of each.
        fit: `(key, x [num, dim]) -> state`.
        is_indexed: init and step take {"x": batch, "row": numbers of its rows in the data}, for
            what the state holds of each training example; evaluate takes the batch alone.
        unit: of the objective, "nats" where it is a log probability or a bound of one.
        num_watched: validation examples that the loop evaluates, the first so many; None takes all.
        observe: `(key, batch) -> x`, the noise of the training data, which step, init and fit draw
            themselves; None where the data are what the model sees.
    """

    generative: Callable
    init: Callable | None = None
    step: Callable | None = None
    evaluate: Callable | None = None
    summarise: Callable | None = None
    fit: Callable | None = None
    is_indexed: bool = False
    unit: str = "nats"
    num_watched: int | None = None
    observe: Callable | None = None


def training_data(system: System, x: Any) -> Any:
    """What the loop takes batches of: x, and where a system asks for them the numbers of its rows.

    Args:
        system: which will be trained.
        x: `[num, ...]`.
    """
    return {"x": x, "row": np.arange(len(x), dtype=np.int32)} if system.is_indexed else x


@functools.cache
def observing(system: System, observe: Callable | None) -> System:
    """A system whose every training step draws the noise of its batch anew.

    Args:
        system: of observations.
        observe: `(key, batch) -> x`, from what is stored to an observation; None changes nothing.

    Returns:
        The system; equal arguments return the same object. Evaluation takes observations as before.

    Raises:
        InputError: a system whose state holds chains of each image: they would follow another x in
            every step, and never reach its posterior.
    """
    if observe is None:
        return system
    if system.is_indexed:
        raise InputError(
            "noise is fresh, and this system keeps posterior chains for each training image: "
            "expected noise fixed"
        )

    def init(key, data):
        key_observe, key_init = jax.random.split(key)
        return system.init(key_init, observe(key_observe, data))

    def step(state, key, batch, *, learning_rate):
        key_observe, key_step = jax.random.split(key)
        x = observe(key_observe, batch)
        return system.step(state, key_step, x, learning_rate=learning_rate)

    def fit(key, x):
        key_observe, key_fit = jax.random.split(key)
        return system.fit(key_fit, observe(key_observe, x))

    return system._replace(
        init=init,
        step=system.step and step,
        fit=system.fit and fit,
        observe=observe,
    )
