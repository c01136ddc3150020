"""Annealed importance sampling as published for decoders (Wu et al. 2017, arXiv 1611.04273).

From the prior, on a linear schedule, ten leapfrogs a move, no preconditioner; the step size is
adapted on separate chains, so that its bounds are bounds. Made of the parts of bayes_jax.annealing.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from bayes_jax.annealing.chains import (
    joint_density,
    log_weight,
    start_backward,
    start_forward,
    walk,
    weighted_draws,
)
from bayes_jax.annealing.engines import sandwiched
from bayes_jax.annealing.pilot import pilot, unscouted_path
from bayes_jax.annealing.schedules import linear_schedule
from bayes_jax.annealing.settings import Settings
from bayes_jax.batching import map_observations
from bayes_jax.estimates import Evidence, WeightedDraws

NUM_LEAPFROGS = 10


def published_sandwich(
    key, model, z, x, *, num_temperatures: int, num_chains: int
) -> tuple[Evidence, int]:
    """log p(x) of simulated pairs (z, x) from both sides, and gradients per image and side."""
    there, back = published_walks(
        key, model, z, x, num_temperatures=num_temperatures, num_chains=num_chains
    )
    return sandwiched(there, back), int(there.num_grads[0])


def published_walks(
    key, model, z, x, *, num_temperatures: int, num_chains: int
) -> tuple[WeightedDraws, Float[Array, "image chain"]]:
    """Weighted draws of the walks there, E[w] = p(x), and log weights of those back from z."""
    settings = Settings(num_chains, num_temperatures, "linear", "hmc", NUM_LEAPFROGS)
    return _walks(key, model, z, x, settings)


@partial(jax.jit, static_argnums=4)
def _walks(key, model, z, x, settings):
    identity = jnp.eye(z.shape[-1])
    betas = linear_schedule(settings.num_temperatures)
    path = unscouted_path(model.prior, identity, jnp.ones(len(identity)), betas)

    def one(key, row):
        z, x = row
        key_pilot, key_there, key_back = jax.random.split(key, 3)
        density = joint_density(model, x)
        found = pilot(key_pilot, density, path, settings)
        there = walk(density, start_forward(key_there, density, found, settings), settings)
        back = walk(density, start_backward(key_back, density, found, z, settings), settings)
        return weighted_draws(there), log_weight(back)

    return map_observations(one, key, (z, x))
