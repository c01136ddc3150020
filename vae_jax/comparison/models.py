"""Every model, the same data: trained alike, scored on the same test images in the same nats."""

from collections.abc import Callable
from dataclasses import fields
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from bayes_jax import Evidence, GenerativeModel
from bayes_jax.errors import InputError
from vae_jax import systems, training
from vae_jax.configs import InferenceBudget, Track, TrainConfig
from vae_jax.data.arrays import bits_per_dim
from vae_jax.data.dataset import Dataset
from vae_jax.objectives import active_units
from vae_jax.systems.base import observing
from vae_jax.timing import timed

NUM_TIMED_SAMPLES = 1000
EVALUATION_STREAM = 0xE7A1

#: The rows of each track, and what a person reads for each system.
TRACKS: dict[Track, tuple[str, ...]] = {
    "bernoulli": ("vae", "iwae", "mixture"),
    "gaussian": ("vae", "linear_vae", "ppca", "factor_analysis", "mixture"),
}
TITLES = {
    "vae": "seed VAE",
    "iwae": "IWAE",
    "linear_vae": "linear VAE",
    "ppca": "PPCA",
    "factor_analysis": "factor analysis",
    "mixture": "mixture",
}


class Trained(NamedTuple):
    """One fitted model.

    Attributes:
        name: key of `SYSTEMS`.
        config: of the system.
        seed: of its training.
        generative: what it can do.
        history: one report per epoch.
        seconds: of training, compilation included; its share where seeds were trained at once.
    """

    name: str
    config: Any
    seed: int
    generative: GenerativeModel
    history: tuple
    seconds: float


class Scored(NamedTuple):
    """A fitted model held against the test images.

    Attributes:
        trained: the model.
        evidence: of the test images.
        seconds_per_sample: to draw one image, compilation apart.
        seconds_per_evidence: to score one image, compilation apart.
        active_units: latent units the guide uses, or None without a guide.
    """

    trained: Trained
    evidence: Evidence
    seconds_per_sample: float
    seconds_per_evidence: float
    active_units: int | None


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


def track(head: Track, names: tuple[str, ...] = ("all",)) -> tuple[str, ...]:
    """The models of a track, or those asked for.

    Raises:
        InputError: a model that is not in the track of this observation.
    """
    if names == ("all",):
        return TRACKS[head]
    for name in names:
        if name not in TRACKS[head]:
            raise InputError(
                f"models: {name!r} is no {head} model: expected all or some of "
                f"{', '.join(TRACKS[head])}"
            )
    return names


def config_for(name: str, latent_dim: int) -> Any:
    """The config of a row: defaults, but the latent dimension where the system has one."""
    config_type = systems.SYSTEMS[name][0]
    has_latents = any(field.name == "latent_dim" for field in fields(config_type))
    return config_type(latent_dim=latent_dim) if has_latents else config_type()


def train(name: str, dataset: Dataset, train_config: TrainConfig, **options) -> Trained:
    """Train one system on a data set, through the one loop; options are those of `train_seeds`."""
    (trained,) = train_seeds(name, dataset, train_config, num_seeds=1, **options)
    return trained


def train_seeds(
    name: str,
    dataset: Dataset,
    train_config: TrainConfig,
    *,
    num_seeds: int,
    config: Any,
    on_epoch: Callable[[tuple], None] | None = None,
) -> list[Trained]:
    """Train one system from several seeds at once, the first of them `train_config.seed`.

    Args:
        name: key of `SYSTEMS`.
        dataset: its training and validation splits are used.
        train_config: epochs, batches, patience and first seed.
        num_seeds: how many.
        config: of the system.
        on_epoch: for progress; takes a report for each seed, None for one that has stopped.

    Returns:
        The fitted models; each has its share of the seconds.
    """
    system = observing(systems.build(name, config, dataset.spec), dataset.observe)
    seeds = range(train_config.seed, train_config.seed + num_seeds)
    results = training.fit_seeds(
        jnp.stack([jax.random.key(seed) for seed in seeds]),
        system,
        dataset.train,
        dataset.validation,
        train_config,
        on_epoch=on_epoch,
    )
    return [
        Trained(
            name,
            config,
            seed,
            system.generative(result.state),
            result.history,
            result.seconds,
        )
        for seed, result in zip(seeds, results, strict=True)
    ]


def score(key, trained: Trained, x) -> Scored:
    """Hold a fitted model against test images.

    Args:
        key: a PRNG key.
        trained: the model.
        x: `[image, dim]`, float.

    Returns:
        Scored, the evidence by the family's default estimator.
    """
    key_evidence, key_sample = jax.random.split(key)
    generative = trained.generative
    evidence = timed(lambda: generative.log_evidence(key_evidence, x))
    sample = partial(generative.sample, key_sample, NUM_TIMED_SAMPLES)
    timed(sample)
    sampled = timed(sample)
    active = None if generative.guide is None else int(active_units(generative.guide, x))
    return Scored(
        trained,
        evidence.result,
        sampled.seconds / NUM_TIMED_SAMPLES,
        evidence.seconds / len(x),
        active,
    )


def rows(scored: list[list[Scored]], dataset: Dataset) -> list[dict]:
    """The table "models": one row per model, its seeds pooled.

    `log_prob` is the mean over test images (and seeds) in nats with its standard error over images;
    `difference` is the paired difference to the best row, image by image, which is what tells two
    models apart; `spread` is the standard deviation over training seeds.

    Args:
        scored: for each model its seeds.
        dataset: of the images.
    """
    values = [_per_image(seeds) for seeds in scored]
    best = max(values, key=lambda value: value.mean())
    return [_row(seeds, value, best, dataset) for seeds, value in zip(scored, values, strict=True)]


def _row(seeds: list[Scored], value, best, dataset: Dataset) -> dict:
    first = seeds[0]
    difference = value - best
    seed_means = [float(np.mean(entry.evidence.lower)) for entry in seeds]
    return {
        "table": "models",
        "model": title(first.trained, dataset.spec.head),
        "method": "exact" if first.evidence.kind == 0 else "annealed from the guide",
        "log_prob": float(value.mean()),
        "stderr": _stderr(value),
        "kind": first.evidence.kind.name.lower(),
        "difference": float(difference.mean()),
        "difference_stderr": _stderr(difference) if value is not best else 0.0,
        "bits_per_dim": float(
            bits_per_dim(
                value.mean(),
                dim=dataset.spec.dim,
                observation=dataset.spec.head,
                num_levels=dataset.num_levels,
            )
        ),
        "active_units": first.active_units,
        "num_seeds": len(seeds),
        "spread": float(np.std(seed_means, ddof=1)) if len(seeds) > 1 else None,
        "train_seconds": float(np.mean([entry.trained.seconds for entry in seeds])),
        "seconds_per_sample": first.seconds_per_sample,
        "seconds": first.seconds_per_evidence,
        "num_images": len(value),
    }


def title(trained: Trained, head: Track) -> str:
    """What a person reads for a model."""
    config = trained.config
    if trained.name == "mixture":
        return f"{head.capitalize()} mixture ({config.num_components})"
    if trained.name == "iwae":
        return f"IWAE-{config.objective.num_samples} ({config.latent_dim}-d)"
    return f"{TITLES[trained.name]} ({config.latent_dim}-d)"


def _per_image(seeds: list[Scored]) -> np.ndarray:
    return np.mean([np.asarray(entry.evidence.lower, np.float64) for entry in seeds], axis=0)


def _stderr(values: np.ndarray) -> float:
    return float(np.std(values, ddof=1) / np.sqrt(len(values)))
