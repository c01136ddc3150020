"""Models whose p(x) annealing bounds: from below, and from both sides where z is known."""

from bayes_jax.annealing.engines import annealed_evidence, evidence_sandwich
from bayes_jax.model import GenerativeModel, Guide, LatentModel, simulate

_BATCH = 256  # observations in memory at once


def annealed_model(
    latent: LatentModel, *, guide: Guide | None = None, **options
) -> GenerativeModel:
    """A fitted model from p(z) p(x | z), its evidence by annealing.

    Args:
        latent: the model.
        guide: where annealing starts; the prior if None.
        options: of `annealed_evidence`, the same for both sides; 256 observations in memory at
            once, if they do not say.
    """
    options = {"batch_size": _BATCH, **options, "guide": guide}

    def sample(key, num):
        return simulate(key, latent, num)[1]

    def log_evidence(key, x):
        return annealed_evidence(key, latent, x, **options)

    def sandwich(key, z, x):
        return evidence_sandwich(key, latent, z, x, **options)

    return GenerativeModel(sample, log_evidence, latent, guide, sandwich=sandwich)
