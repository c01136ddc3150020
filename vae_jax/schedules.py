"""Learning rates over the epochs of a run: a function of the config and the epoch, nothing else."""

import math

from vae_jax.configs import TrainConfig

NUM_STAGES = 8
"""Of the staged schedule: stage i lasts 3^i parts and has a rate of 10^(-i / 7)."""


def learning_rate(config: TrainConfig, epoch: int) -> float:
    """The rate of one epoch.

    Args:
        config: its `learning_rate` is that of the first epoch, its `schedule` says how it falls.
        epoch: counted from 1.

    Returns:
        A rate; the same for all steps of the epoch.

    References:
        "cosine": Loshchilov, Hutter 2017, arXiv 1608.03983, without restarts. "staged": Burda,
        Grosse, Salakhutdinov 2016, arXiv 1509.00519, section 5, whose 3280 epochs are the stages of
        1, 3, ..., 2187 epochs; fewer epochs shorten all stages alike.
    """
    return config.learning_rate * _FACTORS[config.schedule]((epoch - 1) / config.num_epochs)


def _constant(share: float) -> float:
    del share
    return 1.0


def _cosine(share: float) -> float:
    return 0.5 * (1 + math.cos(math.pi * share))


def _staged(share: float) -> float:
    # Stages 0 ... i - 1 take (3^i - 1) / 2 of the (3^8 - 1) / 2 parts. A share on a border that
    # rounding left below it belongs to the next stage.
    parts = share * (3**NUM_STAGES - 1) / 2 + 1e-9 * 3**NUM_STAGES
    stage = int(math.log(2 * parts + 1, 3))
    return 10 ** (-stage / 7)


_FACTORS = {"constant": _constant, "cosine": _cosine, "staged": _staged}
"""name of the schedule -> share of the run that is over -> factor of the first rate."""
