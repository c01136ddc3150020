"""The training loop and its optimiser."""

import math
from dataclasses import dataclass
from typing import Literal

from vae_jax.configs.checks import check, check_name

Schedule = Literal["constant", "cosine", "staged"]


@dataclass(frozen=True)
class TrainConfig:
    """The one training loop.

    Attributes:
        num_epochs: most epochs to train.
        batch_size: examples per step.
        learning_rate: of Adam, in the first epoch.
        patience: stop after so many epochs without a better validation value; the best is kept.
        seed: of initialisation, shuffling and noise.
        schedule: how the rate falls: constant, cosine (to zero), staged (Burda et al. 2016: eight
            stages, each three times as long and 10^(1/7) times slower). It spans num_epochs.
        stream_steps: 0 keeps the training data on the device; otherwise they stay on the host, and
            the examples of so many steps are sent at a time, while those before are trained on.
    """

    num_epochs: int = 1000
    batch_size: int = 128
    learning_rate: float = 1e-3
    patience: int = 50
    seed: int = 0
    schedule: Schedule = "constant"
    stream_steps: int = 0

    def __post_init__(self):
        check_name(self.schedule, Schedule, "schedule")
        for field in ("num_epochs", "batch_size", "patience"):
            check(getattr(self, field) >= 1, field, getattr(self, field), "at least 1")
        is_positive = 0 < self.learning_rate < math.inf
        check(is_positive, "learning_rate", self.learning_rate, "a positive number")
        for field in ("seed", "stream_steps"):
            check(getattr(self, field) >= 0, field, getattr(self, field), "at least 0")


@dataclass(frozen=True)
class TextTrainConfig(TrainConfig):
    """The same loop over sentences: corpora are small, and their models soon overfit."""

    num_epochs: int = 30
    batch_size: int = 32
    learning_rate: float = 3e-3
    patience: int = 3


@dataclass(frozen=True)
class OptimizerConfig:
    """How Adam moves the params; its rate is the loop's.

    Attributes:
        clip_norm: longest gradient of a batch; longer ones are scaled down. As it is if unset.
        average_decay: of the moving average of the params that is evaluated and kept; 0 keeps the
            params themselves.
    """

    clip_norm: float | None = None
    average_decay: float = 0.0

    def __post_init__(self):
        check(
            self.clip_norm is None or self.clip_norm > 0,
            "clip_norm",
            self.clip_norm,
            "a positive number",
        )
        check(
            0 <= self.average_decay <= 0.99999,
            "average_decay",
            self.average_decay,
            "from 0 to 0.99999",
        )
