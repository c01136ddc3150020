"""All decoders under one observation model, N(mean(z), s^2 I): with their own s, and a shared one.

Likelihoods differ between models, and a GAN has none. Under the same noise around their means they
can be compared in nats (Wu, Burda, Salakhutdinov, Grosse 2017, arXiv 1611.04273).
"""

from typing import NamedTuple

import jax
from jaxtyping import Array, Float, PRNGKeyArray

from bayes_jax import Evidence
from bayes_jax.annealing import Validation
from bayes_jax.observation import choose_noise, with_gaussian_noise
from vae_jax.comparison import columns, methods, pooled
from vae_jax.comparison.decoders import bound
from vae_jax.comparison.models import Trained
from vae_jax.configs import InferenceBudget
from vae_jax.tables import Column, Table

SHARED_SCALE = 0.025**0.5
"""The noise of Wu et al. (2017), which their rows share."""
SCALES = (0.05, 0.1, SHARED_SCALE, 0.25, 0.4)
"""Among which each decoder's own is chosen, on validation images."""
NUM_VALIDATION = 32

COLUMNS = [
    Column("model", "decoder"),
    Column(
        "scale",
        "own s",
        ".3f",
        meaning=f"of {', '.join(f'{scale:.3g}' for scale in SCALES)} the one with the highest "
        f"bound on {NUM_VALIDATION} validation images; one at either end may not be the best",
    ),
    Column(
        "own_log_prob",
        "log p(x) at its own s",
        ".3f",
        "own_stderr",
        "nats, annealed from the prior: a lower bound; ± over images",
    ),
    Column("own_width", "width there", ".3f", "own_width_stderr", "of the sandwich"),
    Column(
        "log_prob",
        f"at the shared s = {SHARED_SCALE:.3f}",
        ".3f",
        "stderr",
        "the noise of Wu et al. (2017), the same for all",
    ),
    Column("difference", "to the VAE's", ".3f", "difference_stderr", "at the shared s, paired"),
    Column("width", "width there", ".3f", "width_stderr"),
    columns.NUM_IMAGES,
]
_NOTE = (
    "A GAN has no likelihood: it is given one here, and so is every other decoder. These are "
    "densities of dequantized pixels; bits and counts have no such table. Of several seeds, s and "
    "the widths are those of the first."
)


class Noisy(NamedTuple):
    """One decoder under Gaussian noise around its means.

    Attributes:
        trained: of the decoder.
        scale: its own.
        own: evidence of the test images under it.
        own_sides: both sides under it, on images simulated so; None where the budget has none.
        shared: evidence under the shared scale.
        shared_sides: both sides under that.
    """

    trained: Trained
    scale: float
    own: Evidence
    own_sides: Validation | None
    shared: Evidence
    shared_sides: Validation | None


def under_noise(
    key: PRNGKeyArray,
    trained: Trained,
    validation: Float[Array, "held_out dim"],
    x: Float[Array, "image dim"],
    budget: InferenceBudget,
) -> Noisy:
    """Choose a decoder's noise, and bound log p(x) of test images under it and the shared one.

    Args:
        key: a PRNG key.
        trained: of the decoder.
        validation: images that choose; the first `NUM_VALIDATION`.
        x: test images.
        budget: of the bounds.
    """
    key_choice, key_own, key_shared = jax.random.split(key, 3)
    model = trained.generative.latent
    options = {
        "num_chains": budget.num_chains,
        "num_temperatures": budget.num_temperatures_prior,
    }
    scale, _ = choose_noise(key_choice, model, validation[:NUM_VALIDATION], SCALES, **options)
    own = bound(key_own, with_gaussian_noise(model, scale), x, budget)
    shared = bound(key_shared, with_gaussian_noise(model, SHARED_SCALE), x, budget)
    return Noisy(trained, scale, *own, *shared)


def table(noisy: list[list[Noisy]]) -> Table:
    """One row per decoder, its seeds pooled."""
    name = "One noise for every decoder"
    return Table(name, rows(noisy), COLUMNS, _NOTE)


def rows(noisy: list[list[Noisy]]) -> list[dict]:
    """The table "noise": one row per decoder.

    Args:
        noisy: for each decoder its seeds.
    """
    values = [pooled.per_image([entry.shared for entry in seeds]) for seeds in noisy]
    names = [seeds[0].trained.name for seeds in noisy]
    reference = pooled.reference(names, values)
    return [_row(seeds, value, reference) for seeds, value in zip(noisy, values, strict=True)]


def _row(seeds: list[Noisy], value, reference) -> dict:
    own = pooled.per_image([entry.own for entry in seeds])
    return {
        "table": "noise",
        "model": seeds[0].trained.title,
        "method": methods.ANNEALED_PRIOR,
        "scale": seeds[0].scale,
        "is_edge": seeds[0].scale in (SCALES[0], SCALES[-1]),
        "own_log_prob": float(own.mean()),
        "own_stderr": pooled.stderr_of(own),
        **{f"own_{key}": value for key, value in pooled.width(seeds[0].own_sides).items()},
        "shared_scale": SHARED_SCALE,
        **pooled.log_prob(value),
        "kind": "lower",
        **pooled.paired(value, reference),
        **pooled.width(seeds[0].shared_sides),
        "num_images": len(value),
        "seconds": None,
    }
