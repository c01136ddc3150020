"""A linear-Gaussian model with few pixels: exact completions, and a latent for the samplers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bayes_jax.exact import linear_gaussian
from bayes_jax.exact.linear_gaussian import LinearGaussian

DIM = 6
RNG = np.random.default_rng(3)


def batch_of(num, share=0.5):
    """x simulated from the model, and masks of which no two need be alike; never all or nothing."""
    x = GENERATIVE.sample(jax.random.key(5), num)
    ranks = jax.random.uniform(jax.random.key(6), x.shape).argsort(axis=1)
    return x, ranks < share * DIM


def make_generative():
    arrays = (RNG.normal(size=(DIM, 2)), RNG.normal(size=DIM), RNG.uniform(0.1, 0.6, DIM))
    return linear_gaussian.generative(
        LinearGaussian(*(jnp.asarray(array, jnp.float32) for array in arrays))
    )


GENERATIVE = make_generative()


@pytest.fixture(scope="session")
def generative():
    return GENERATIVE


@pytest.fixture(scope="session")
def batch():
    return batch_of
