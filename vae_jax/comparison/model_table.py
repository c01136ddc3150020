"""The table of models: every model, the same data, one row each."""

import jax.numpy as jnp
import numpy as np

from bayes_jax import GenerativeModel, LatentModel
from bayes_jax.errors import InputError
from bayes_jax.estimates import EvidenceKind
from bayes_jax.missing import condition
from vae_jax import config_file
from vae_jax.comparison import columns, pooled
from vae_jax.comparison.entrants import ENTRANTS
from vae_jax.comparison.models import Trained
from vae_jax.comparison.scores import Scored
from vae_jax.configs import DataConfig
from vae_jax.data.arrays import bits_per_dim
from vae_jax.data.dataset import Dataset
from vae_jax.scores import warning
from vae_jax.tables import Column, Table

COLUMNS = [
    Column("model", "model"),
    Column(
        "log_prob",
        "test log p(x), nats",
        ".3f",
        "stderr",
        "mean over the same test images, ± standard error over images",
    ),
    Column(
        "method",
        "how",
        meaning="'exact' is the value; annealing bounds it from below",
    ),
    Column(
        "width",
        "sandwich",
        ".3f",
        "width_stderr",
        "how far the same annealing leaves log p(x) open on images the model simulated, where both "
        "sides are known",
    ),
    Column(
        "difference",
        "to the best",
        ".3f",
        "difference_stderr",
        "paired difference image by image, ± its standard error, which is what tells two models "
        "apart",
    ),
    Column("bits_per_dim", "bits / pixel", ".4f", meaning="of the grey level or bit"),
    Column(
        "active_units",
        "active units",
        meaning="latents whose encoded mean varies over images by more than 0.01",
    ),
    Column("num_epochs", "epochs", "d"),
    Column("train_seconds", "train s", ".1f", meaning="compilation included"),
    Column("seconds_per_thousand", "s / 1000 samples", ".3f"),
    Column(
        "seconds_per_posterior",
        "s / posterior",
        ".3f",
        meaning="MCMC draws of p(z | x) of one image of eight, where it is not exact",
    ),
    Column(
        "abilities",
        "can",
        meaning="encode: a guide or the exact posterior; impute: what is missing given any pixels "
        "that are there, in closed form or by MCMC (scripts/impute.py)",
    ),
    columns.NUM_IMAGES,
]
SPREAD_COLUMN = Column("spread", "sd over seeds", ".3f")


def table(scored: list[list[Scored]], dataset: Dataset) -> Table:
    """Every model, the same data.

    Args:
        scored: for each model its seeds.
        dataset: of the images.
    """
    found, shown = rows(scored, dataset), list(COLUMNS)
    if any(row["spread"] is not None for row in found):
        shown.insert(2, SPREAD_COLUMN)
    note = ""
    if dataset.spec.head == "gaussian":
        note = (
            f"Pixels are (level + u) / {dataset.num_levels} with u fixed by the data seed; every "
            f"Gaussian variance has the floor {dataset.spec.min_variance:.2e}, that of u."
        )
    return Table(f"Every model, the same data: {dataset.name}", found, shown, note)


def warnings(scored: list[list[Scored]]) -> list[str]:
    """A line for each seed of a model that has no number for some images.

    Args:
        scored: for each model its seeds.
    """
    lines = [warning(entry.trained.title, entry.evidence) for seeds in scored for entry in seeds]
    return [line for line in lines if line]


def commands(trained: list[Trained], data: DataConfig) -> Table:
    """How each model is trained alone.

    Args:
        trained: one seed of each.
        data: what all of them saw.
    """
    found = [
        {
            "table": "commands",
            "model": entry.title,
            "command": config_file.command(
                ENTRANTS[entry.name].system, entry.config, entry.loop, data
            ),
        }
        for entry in trained
    ]
    shown = [Column("model", "model"), Column("command", "command")]
    return Table("The command that trains each of them", found, shown)


def rows(scored: list[list[Scored]], dataset: Dataset) -> list[dict]:
    """The table "models": one row per model, its seeds pooled.

    `log_prob` is the mean over test images (and seeds) in nats with its standard error over images;
    `difference` is the paired difference to the best row, image by image, which is what tells two
    models apart; `spread` is the standard deviation over training seeds; `width` is how far
    annealing leaves log p(x) open, on images that the first seed simulated.

    Args:
        scored: for each model its seeds.
        dataset: of the images.
    """
    values = [pooled.per_image([entry.evidence for entry in seeds]) for seeds in scored]
    best = max(values, key=lambda value: np.nan_to_num(value.mean(), nan=-np.inf))
    return [_row(seeds, value, best, dataset) for seeds, value in zip(scored, values, strict=True)]


def _row(seeds: list[Scored], value, best, dataset: Dataset) -> dict:
    first = seeds[0]
    seed_means = [float(np.mean(entry.evidence.lower)) for entry in seeds]
    return {
        "table": "models",
        "model": first.trained.title,
        "method": estimator(first),
        **pooled.log_prob(value),
        "kind": first.evidence.kind.name.lower(),
        **pooled.paired(value, best),
        **pooled.width(first.validation),
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
        "num_epochs": len(first.trained.history),
        "train_seconds": float(np.mean([entry.trained.seconds for entry in seeds])),
        "seconds_per_sample": first.seconds_per_sample,
        "seconds_per_thousand": 1000 * first.seconds_per_sample,
        "seconds_per_posterior": first.seconds_per_posterior,
        "seconds": first.seconds_per_evidence,
        "abilities": abilities(first.trained.generative),
        "num_images": len(value),
    }


def abilities(generative: GenerativeModel) -> str:
    """What a model can do, in the words of the table."""
    known = {
        "sample": True,
        "score": True,
        "encode": generative.guide is not None or generative.posterior is not None,
        "impute": generative.completion is not None or _has_observed_part(generative.latent),
    }
    return ", ".join(name for name, can in known.items() if can)


def _has_observed_part(latent: LatentModel | None) -> bool:
    """Whether some pixels of p(x | z) have a density of their own, which MCMC imputation needs."""
    if latent is None:
        return False
    likelihood = latent.likelihood(jnp.zeros(latent.prior.event_shape))
    try:
        condition(
            likelihood, jnp.zeros(likelihood.event_shape), np.ones(likelihood.event_shape, bool)
        )
    except InputError:
        return False
    return True


def estimator(entry: Scored) -> str:
    """How the evidence of a model was found."""
    if entry.evidence.kind == EvidenceKind.EXACT:
        return "exact"
    guide = entry.trained.generative.guide
    return "annealed from the prior" if guide is None else "annealed from the guide"
