"""Every model, the same data: all are trained alike, from the same seeds, by the one loop."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from bayes_jax import GenerativeModel
from bayes_jax.errors import InputError
from vae_jax import systems, training
from vae_jax.comparison.entrants import ENTRANTS
from vae_jax.configs import InferenceBudget, TrainConfig
from vae_jax.data.dataset import Dataset
from vae_jax.systems.base import observing

EVALUATION_STREAM = 0xE7A1


class Trained(NamedTuple):
    """One fitted model.

    Attributes:
        name: key of `ENTRANTS`.
        title: what a person reads.
        config: of the system.
        loop: that trained it.
        generative: what it can do.
        history: one report per epoch.
        seconds: of training, compilation included; its share where seeds were trained at once.
        unit: of the objective in its history.
    """

    name: str
    title: str
    config: Any
    loop: TrainConfig
    generative: GenerativeModel
    history: tuple
    seconds: float
    unit: str = "nats"


def evaluation_key(seed: int) -> PRNGKeyArray:
    """The key of everything after training, apart from all keys that training splits off."""
    return jax.random.fold_in(jax.random.key(seed), EVALUATION_STREAM)


def test_images(dataset: Dataset, budget: InferenceBudget) -> Float[Array, "image dim"]:
    """The test images that every row sees: the first of the held-out split, as float32.

    Raises:
        InputError: fewer images than the budget asks for.
    """
    if len(dataset.test) < budget.num_images:
        raise InputError(
            f"budget.num_images is {budget.num_images}, the test split of {dataset.name} holds "
            f"{len(dataset.test)}: expected at most that many"
        )
    return jnp.asarray(dataset.test[: budget.num_images], jnp.float32)


def train(name: str, dataset: Dataset, loop: TrainConfig, **options) -> Trained:
    """Train one entrant on a data set; options are those of `train_seeds`."""
    (trained,) = train_seeds(name, dataset, loop, num_seeds=1, **options)
    return trained


def train_seeds(
    name: str,
    dataset: Dataset,
    loop: TrainConfig,
    *,
    num_seeds: int,
    config: Any,
    on_epoch: Callable[[tuple], None] | None = None,
) -> list[Trained]:
    """Train one entrant from several seeds at once, the first of them the loop's.

    Args:
        name: key of `ENTRANTS`.
        dataset: its training and validation splits are used.
        loop: epochs, batches, patience and first seed.
        num_seeds: how many.
        config: of its system.
        on_epoch: for progress; takes a report for each seed, None for one that has stopped.

    Returns:
        The fitted models; each has its share of the seconds.
    """
    built = systems.build(ENTRANTS[name].system, config, dataset.spec)
    system = observing(built, dataset.observe)
    seeds = range(loop.seed, loop.seed + num_seeds)
    results = training.fit_seeds(
        jnp.stack([jax.random.key(seed) for seed in seeds]),
        system,
        dataset.train,
        dataset.validation,
        loop,
        on_epoch=on_epoch,
    )
    return [
        Trained(
            name,
            ENTRANTS[name].titled(config, dataset.spec.head),
            config,
            loop,
            system.generative(result.state),
            result.history,
            result.seconds,
            system.unit,
        )
        for result in results
    ]
