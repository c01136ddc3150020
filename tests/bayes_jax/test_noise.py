"""Draws in the form that compiles fast are still draws of what their name says."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from scipy import stats

from bayes_jax.noise import independent_draws, standard_normals

# A correct sampler fails one in ten thousand keys; the keys are fixed.
LEAST_P_VALUE = 1e-4


def test_standard_normals_are_standard_and_normal():
    noise = np.asarray(standard_normals(jax.random.key(0), (40, 50, 3)), np.float64)
    assert noise.shape == (40, 50, 3)
    assert stats.kstest(noise.ravel(), "norm").pvalue > LEAST_P_VALUE
    # Independent along every axis: no neighbour tells of the next.
    bound = 5 / np.sqrt(noise.size)
    for axis in range(3):
        first, second = np.take(noise, 0, axis), np.take(noise, 1, axis)
        assert abs(np.mean(first * second)) < 5 / np.sqrt(first.size)
    assert abs(np.mean(noise.ravel()[1:] * noise.ravel()[:-1])) < bound


def test_standard_normals_have_the_dtype_asked_for():
    assert standard_normals(jax.random.key(0), (), jnp.float32).shape == ()
    assert standard_normals(jax.random.key(0), (2, 0)).shape == (2, 0)
    assert standard_normals(jax.random.key(0), (3,), jnp.bfloat16).dtype == jnp.bfloat16


@pytest.mark.parametrize(
    ("distribution", "cdf"),
    [
        (dist.Gamma(2.0, 3.0).expand([2]).to_event(1), stats.gamma(2.0, scale=1 / 3).cdf),
        (dist.Normal(jnp.full(2, -1.0), 0.5).to_event(1), stats.norm(-1, 0.5).cdf),
    ],
)
def test_independent_draws_follow_the_distribution(distribution, cdf):
    draws = np.asarray(independent_draws(jax.random.key(1), distribution, 4000), np.float64)
    assert draws.shape == (4000, 2)
    for latent in (0, 1):
        assert stats.kstest(draws[:, latent], cdf).pvalue > LEAST_P_VALUE
    for first, second in ((draws[:, 0], draws[:, 1]), (draws[1:, 0], draws[:-1, 0])):
        assert abs(stats.pearsonr(first, second).statistic) < 5 / np.sqrt(4000)


def test_more_draws_of_one_key_are_other_draws():
    """Each draw has a key of its own: none is a copy of another."""
    normal = dist.Normal(jnp.zeros(2), 1.0).to_event(1)
    draws = independent_draws(jax.random.key(2), normal, 300)
    assert len(np.unique(np.asarray(draws))) == 600
