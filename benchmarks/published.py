"""Annealed importance sampling as published for decoders (Wu et al. 2017, arXiv 1611.04273).

From the prior, on a linear schedule, ten leapfrogs a move, no preconditioner; the step size is
adapted on separate chains, so that its bounds are bounds. Made of the parts of bayes_jax.annealing.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from bayes_jax.annealing.chains import (
    joint_density,
    log_weight,
    start_backward,
    start_forward,
    walk,
)
from bayes_jax.annealing.pilot import pilot, unscouted_path
from bayes_jax.annealing.schedules import linear_schedule
from bayes_jax.annealing.settings import Settings
from bayes_jax.batching import map_observations
from bayes_jax.estimates import log_mean_exp

NUM_LEAPFROGS = 10


def published_sandwich(
    key, model, z, x, *, num_temperatures: int, num_chains: int
) -> tuple[np.ndarray, int]:
    """Width of the sandwich for each simulated pair in nats, and gradients per image and side."""
    settings = Settings(num_chains, num_temperatures, "linear", "hmc", NUM_LEAPFROGS)
    lower, upper, num_grads = _sides(key, model, z, x, settings)
    return np.asarray(upper - lower, np.float64), int(num_grads[0])


@partial(jax.jit, static_argnums=4)
def _sides(key, model, z, x, settings):
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
        lower, upper = log_mean_exp(log_weight(there)), -log_mean_exp(log_weight(back))
        return lower, upper, there.num_grads

    return map_observations(one, key, (z, x))
