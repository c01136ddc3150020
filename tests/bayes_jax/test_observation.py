"""One noise for all decoders, against the closed form of a linear one."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from jax.tree_util import Partial
from scipy.stats import multivariate_normal

from bayes_jax import InputError, LatentModel
from bayes_jax.observation import choose_noise, with_gaussian_noise

KEY = jax.random.key(0)
LOADING = jnp.array([[1.0, 0.3], [-0.5, 0.8], [0.2, -0.6]])


def decode(loading, z):
    return dist.Normal(loading @ z, jnp.array([5.0, 0.1, 1.0])).to_event(1)


MODEL = LatentModel(dist.Normal(jnp.zeros(2), 1.0).to_event(1), Partial(decode, LOADING))


def exact(x, scale):
    covariance = np.asarray(LOADING @ LOADING.T) + scale**2 * np.eye(3)
    return multivariate_normal(np.zeros(3), covariance).logpdf(np.asarray(x))


def test_its_own_noise_is_replaced():
    z = jnp.array([0.4, -1.0])
    likelihood = with_gaussian_noise(MODEL, 0.3).likelihood(z)
    np.testing.assert_allclose(likelihood.mean, LOADING @ z, rtol=1e-6)
    np.testing.assert_allclose(likelihood.variance, 0.09, rtol=1e-5)


@pytest.mark.slow
def test_the_best_noise_is_that_of_the_data():
    keys = jax.random.split(KEY, 2)
    x = jax.random.normal(keys[0], (40, 2)) @ LOADING.T + 0.3 * jax.random.normal(keys[1], (40, 3))
    scales = (0.1, 0.3, 0.9)
    best, found = choose_noise(KEY, MODEL, x, scales, num_temperatures=1000)
    assert best == 0.3
    for scale, evidence in zip(scales, found, strict=True):
        error = np.asarray(evidence.lower, np.float64) - exact(x, scale)
        assert abs(error.mean()) < 0.05


@pytest.mark.parametrize("scales", [(), (0.1, 0.0)])
def test_scales_that_make_no_sense_are_refused(scales):
    with pytest.raises(InputError, match="scales are"):
        choose_noise(KEY, MODEL, jnp.zeros((2, 3)), scales)
