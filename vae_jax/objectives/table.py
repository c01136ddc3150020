"""The one table of objectives: what a config asks for, for one observation at one step."""

import functools
from collections.abc import Callable

from vae_jax.configs import ObjectiveConfig
from vae_jax.objectives.bounds import elbo_terms, iwae_terms
from vae_jax.objectives.gradients import dreg_terms, stl_terms
from vae_jax.objectives.regularised import (
    beta_terms,
    capacity_terms,
    free_bits_terms,
    warmed_up,
)


@functools.cache
def make_objective(config: ObjectiveConfig) -> Callable:
    """The objective that a config names; equal configs share one function.

    Args:
        config: which, and its numbers.

    Returns:
        `(key, model, guide, x, step) -> Terms`, step the optimiser steps made so far; infinity
        gives the objective after its warm-up.
    """
    return functools.partial(OBJECTIVES[config.name], config)


def _beta(config: ObjectiveConfig, key, model, guide, x, step):
    beta = config.beta * warmed_up(step, config.num_warmup_steps)
    return beta_terms(key, model, guide, x, beta=beta, num_samples=config.num_samples)


def _free_bits(config: ObjectiveConfig, key, model, guide, x, step):
    del step
    return free_bits_terms(
        key, model, guide, x, free_nats=config.free_nats, num_samples=config.num_samples
    )


def _capacity(config: ObjectiveConfig, key, model, guide, x, step):
    return capacity_terms(
        key,
        model,
        guide,
        x,
        capacity=config.capacity * warmed_up(step, config.num_warmup_steps),
        weight=config.weight,
        num_samples=config.num_samples,
    )


def _of_samples(terms: Callable) -> Callable:
    def objective(config: ObjectiveConfig, key, model, guide, x, step):
        del step
        return terms(key, model, guide, x, num_samples=config.num_samples)

    return objective


OBJECTIVES: dict[str, Callable] = {
    "elbo": _of_samples(elbo_terms),
    "beta": _beta,
    "free_bits": _free_bits,
    "capacity": _capacity,
    "iwae": _of_samples(iwae_terms),
    "stl": _of_samples(stl_terms),
    "dreg": _of_samples(dreg_terms),
}
"""name -> `(config, key, model, guide, x, step) -> Terms`."""
