"""Decoders learned with and without an encoder, all held to the same annealing from the prior.

An estimator that starts from a guide favours the decoders that have one. From the prior, with the
same temperatures and chains, none has that advantage; how far each bound still lies below log p(x)
is the width of its sandwich.
"""

from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from bayes_jax import Evidence, LatentModel
from bayes_jax.annealing import Validation
from vae_jax.comparison import columns, inferences, methods, pooled
from vae_jax.comparison.models import Trained
from vae_jax.configs import InferenceBudget
from vae_jax.tables import Column, Table

COLUMNS = [
    Column("model", "decoder"),
    Column(
        "log_prob",
        "test log p(x) from below, nats",
        ".3f",
        "stderr",
        "annealed from the prior, mean over the same test images, ± standard error over images",
    ),
    Column(
        "difference",
        "to the VAE's",
        ".3f",
        "difference_stderr",
        "paired difference of the two lower bounds image by image, ± its standard error; it tells "
        "decoders apart where it exceeds their widths",
    ),
    Column(
        "width",
        "width",
        ".3f",
        "width_stderr",
        "of the sandwich on images that the decoder itself simulated: what annealing leaves open",
    ),
    Column("num_epochs", "epochs", "d"),
    Column("train_seconds", "train s", ".1f"),
    columns.NUM_IMAGES,
]
_NOTE = (
    "VAE, IWAE and deep latent models have one kind of decoder, learned with an encoder or by "
    "posterior draws of chains that each training image keeps. A GAN's has another latent, was "
    "learned against a critic, and is lent its likelihood: Bernoulli(G(z)) of bits, "
    "N(G(z), 0.1^2) of grey levels. Temperatures, chains and moves are the same for all. Seconds "
    "include compilation; those that a model shall spend alike do not. Of several seeds, widths "
    "and epochs are those of the first."
)


class Bounded(NamedTuple):
    """One decoder under annealing from the prior.

    Attributes:
        trained: of the decoder.
        evidence: of the test images.
        validation: both sides on images it simulated; None where the budget has none.
    """

    trained: Trained
    evidence: Evidence
    validation: Validation | None


COMPARED = ("vae", "iwae", "deep_latent", "deep_latent_seconds", "gan")
"""The entrants with one decoder and no exact posterior."""


def bound(
    key: PRNGKeyArray, model: LatentModel, x: Float[Array, "image dim"], budget: InferenceBudget
) -> tuple[Evidence, Validation | None]:
    """log p(x) of test images by annealing from the prior, and both sides on simulated ones.

    Args:
        key: a PRNG key.
        model: p(z) p(x | z).
        x: the test images.
        budget: of temperatures, chains and simulated images.
    """
    key_test, key_simulate, key_sides = jax.random.split(key, 3)
    setting, method = methods.Setting(model, None, budget), methods.annealing(from_guide=False)
    pairs = inferences.simulated(key_simulate, model, budget.num_simulations, x)
    evidence = method.run(key_test, setting, x).evidence
    return evidence, inferences.validated(key_sides, method, setting, pairs)


def rows(bounded: list[list[Bounded]]) -> list[dict]:
    """The table "decoders": one row per decoder, its seeds pooled.

    Args:
        bounded: for each decoder its seeds.
    """
    values = [pooled.per_image([entry.evidence for entry in seeds]) for seeds in bounded]
    names = [seeds[0].trained.name for seeds in bounded]
    reference = pooled.reference(names, values)
    return [_row(seeds, value, reference) for seeds, value in zip(bounded, values, strict=True)]


def table(bounded: list[list[Bounded]]) -> Table:
    """The same as a person reads it."""
    name = "What an encoder costs or buys: every decoder, the same annealing"
    return Table(name, rows(bounded), COLUMNS, _NOTE)


def _row(seeds: list[Bounded], value, reference) -> dict:
    trained = seeds[0].trained
    return {
        "table": "decoders",
        "model": trained.title,
        "method": methods.ANNEALED_PRIOR,
        **pooled.log_prob(value),
        "kind": "lower",
        **pooled.paired(value, reference),
        **pooled.width(seeds[0].validation),
        "num_epochs": len(trained.history),
        "train_seconds": float(np.mean([entry.trained.seconds for entry in seeds])),
        "num_images": len(value),
        "seconds": None,
    }
