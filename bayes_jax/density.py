"""Models that are p(x) itself, as a distribution: exact evidence, and nothing to infer."""

from functools import partial

import jax
from jaxtyping import PRNGKeyArray, PyTree
from numpyro.distributions import Distribution

from bayes_jax.estimates import Evidence, exact_evidence
from bayes_jax.model import GenerativeModel, check_density

_BATCH = 64  # observations in memory at once


def generative(density: Distribution) -> GenerativeModel:
    """A fitted model from its density; equal kinds of densities share their compiled programs.

    Args:
        density: p(x), a pytree of its params.
    """
    return GenerativeModel(
        partial(_sample, density), partial(log_evidence, density), density=density
    )


def log_evidence(density: Distribution, key: PRNGKeyArray, x: PyTree) -> Evidence:
    """log p(x) of a batch, exact.

    Args:
        density: p(x).
        key: unused, as nothing is random here.
        x: `[batch, ...]`.

    Raises:
        InputError: observations without density, or of another shape.
    """
    del key
    check_density(density, x)
    return exact_evidence(_log_prob(density, x))


@partial(jax.jit, static_argnames="num")
def _sample(density, key, num: int) -> PyTree:
    return density.sample(key, (num,))


@jax.jit
def _log_prob(density, x):
    return jax.lax.map(density.log_prob, x, batch_size=_BATCH)
