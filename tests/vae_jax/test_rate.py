"""The parts of the rate, where they are known."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from jax.tree_util import Partial

from vae_jax.rate import split_rate

KEY = jax.random.key(0)
PRIOR = dist.Normal(jnp.zeros(2), 1.0).to_event(1)


def around(scale, x):
    return dist.Normal(x, scale).to_event(1)


def test_of_normals_around_normal_observations():
    """x ~ N(0, t^2), z | x ~ N(x, s^2): q(z) = N(0, s^2 + t^2), and both parts have closed forms.

    N observations of their own make an error of 1 / sqrt(N), and of NUM_DRAWS as many draws less.
    """
    spread, scale, num = 0.9, 0.6, 4000
    x = spread * jax.random.normal(jax.random.key(1), (num, 2))
    found = split_rate(KEY, Partial(around, scale), x, PRIOR)
    variance = spread**2 + scale**2
    expected = np.log(variance / scale**2), variance - 1 - np.log(variance)  # two units each 1/2
    # A log density of two units has a variance of 1 around its mean; so have those of the parts.
    error = 4 / np.sqrt(num)
    assert found.mutual_information == pytest.approx(expected[0], abs=error)
    assert found.marginal_kl == pytest.approx(expected[1], abs=error)
    assert found.rate == pytest.approx(sum(found[1:]), abs=1e-4)


def test_of_a_guide_that_ignores_x_and_of_one_that_tells_all_apart():
    x = jnp.arange(20.0)[:, None] * jnp.ones(2)
    same = split_rate(KEY, Partial(around, 1.0), 0 * x, PRIOR)
    np.testing.assert_allclose(same, 0.0, atol=1e-5)
    apart = split_rate(KEY, Partial(around, 0.01), x, PRIOR)
    assert apart.mutual_information == pytest.approx(np.log(20), rel=1e-4)
