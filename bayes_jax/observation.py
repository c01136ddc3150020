"""One observation model for all: what a decoder's means are worth under the same noise.

Models whose likelihoods differ, or that have none, are comparable under N(mean(z), s^2) with one s
(Wu, Burda, Salakhutdinov, Grosse 2017, arXiv 1611.04273).
"""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax.tree_util import Partial
from jaxtyping import Array, Float, PRNGKeyArray

from bayes_jax.annealing import annealed_evidence
from bayes_jax.errors import InputError
from bayes_jax.estimates import Evidence
from bayes_jax.model import LatentModel


def with_gaussian_noise(model: LatentModel, scale: float | Float[Array, ""]) -> LatentModel:
    """p(z) N(x; E[x | z], scale^2 I), the means those of a model's likelihood.

    Args:
        model: whose likelihood states its mean.
        scale: of the noise, in the units of x.

    Returns:
        The model; for one likelihood, every scale goes through the same compiled engines.
    """
    return LatentModel(model.prior, Partial(_noisy, model.likelihood, jnp.asarray(scale, float)))


def _noisy(likelihood, scale, z) -> dist.Distribution:
    mean = likelihood(z).mean
    return dist.Normal(mean, jnp.broadcast_to(scale, mean.shape)).to_event(1)


def choose_noise(
    key: PRNGKeyArray,
    model: LatentModel,
    x: Float[Array, "batch dim"],
    scales: Sequence[float],
    **options,
) -> tuple[float, list[Evidence]]:
    """The scale under which `with_gaussian_noise` gives held-out x the highest lower bound.

    Args:
        key: a PRNG key, the same for every scale.
        model: whose likelihood states its mean.
        x: observations that are neither trained nor tested on.
        scales: candidates.
        options: of `annealed_evidence`.

    Returns:
        The best scale, and the bounds of x under each. Annealing falls shorter of log p(x) where
        the noise is small, and so leans to larger scales, the less the longer it takes.

    Raises:
        InputError: no scales, or one that is not positive.
    """
    if not scales or min(scales) <= 0:
        raise InputError(f"scales are {tuple(scales)}: expected positive numbers, one at least")
    found = [
        annealed_evidence(key, with_gaussian_noise(model, scale), x, **options) for scale in scales
    ]
    means = [float(np.mean(np.asarray(evidence.lower, np.float64))) for evidence in found]
    return scales[int(np.argmax(means))], found
