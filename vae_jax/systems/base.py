"""What the one training loop trains: a NamedTuple of pure functions."""

from collections.abc import Callable
from typing import NamedTuple


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
        evaluate: `(state, key, batch) -> metrics`, a dict of arrays `[batch]`, in nats per example;
            "objective" is what validation watches (higher is better).
        fit: `(key, x [num, dim]) -> state`.
    """

    generative: Callable
    init: Callable | None = None
    step: Callable | None = None
    evaluate: Callable | None = None
    fit: Callable | None = None
