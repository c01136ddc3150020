"""The scores of a VAE of standardised rows: one training serves them all.

They judge rows by a model whose p(x) is known by bounds only, beside exact densities that need no
training by gradients.
"""

import functools
from collections.abc import Callable
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np

from bayes_jax import GenerativeModel
from vae_jax import systems, training
from vae_jax.configs import ObservationSpec, TrainConfig, VAEConfig
from vae_jax.detection.baselines import Rows, Score

CONFIG = VAEConfig(latent_dim=4, hidden_dims=(64,))
LOOP = TrainConfig(num_epochs=200, batch_size=64, learning_rate=3e-3, patience=20)
HELD_OUT = 0.2
"""Share of the rows that say when training stops."""

MIN_VARIANCE = 1e-2  # of p(x | z), for columns of unit variance
_BATCH = 256  # rows in memory at once


def detector(definition: Callable, seed: int, x: Rows) -> Score:
    """Score rows by a VAE of other rows.

    Args:
        definition: a value of `LATENT_SCORES`.
        seed: of the training and of the draws of z.
        x: rows to fit on.
    """
    model = _trained(seed, np.ascontiguousarray(x).tobytes(), x.shape[1])

    def score(x):
        key, x = jax.random.key(seed), jnp.asarray(x, float)
        found = definition(key, model.latent, x, guide=model.guide, batch_size=_BATCH)
        return np.asarray(found, np.float64)

    return score


@functools.lru_cache(maxsize=1)
def _trained(seed: int, content: bytes, dim: int) -> GenerativeModel:
    """The VAE of these rows, remembered until other rows come."""
    x = np.frombuffer(content).reshape(-1, dim).astype(np.float32)
    order = np.random.default_rng(seed).permutation(len(x))
    num_held = max(1, round(HELD_OUT * len(x)))
    held, rest = x[order[:num_held]], x[order[num_held:]]
    spec = ObservationSpec(dim=dim, head="gaussian", min_variance=MIN_VARIANCE)
    system = systems.build("vae", CONFIG, spec)
    loop = replace(LOOP, batch_size=min(LOOP.batch_size, len(rest)))
    fitted = training.fit(jax.random.key(seed), system, rest, held, loop)
    return system.generative(fitted.state)
