"""What a latent says of x, where it is known: a channel of few symbols, and a guide of all x."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

from bayes_jax.model import LatentModel
from vae_jax.latent_information import information

KEY = jax.random.key(0)


def normal(loc, scale):
    return dist.Normal(jnp.atleast_1d(loc), scale).to_event(1)


LATENT = LatentModel(normal(0.0, 1.0), lambda z: normal(z, 0.5))


def mean_and_stderr(values):
    values = np.asarray(values, np.float64)
    return values.mean(), values.std(ddof=1) / np.sqrt(len(values))


def test_rate_and_distortion_have_their_closed_forms():
    x = jax.random.normal(jax.random.key(1), (200, 1))
    found = information(KEY, LATENT, x, guide=lambda x: normal(0.5 * x, 0.3), num_draws=500)
    loc, square = 0.5 * np.asarray(x)[:, 0], np.asarray(x)[:, 0] ** 2
    rate = 0.5 * (0.3**2 + loc**2 - 1) - np.log(0.3)
    distortion = 0.5 * np.log(2 * np.pi * 0.25) + (0.3**2 + 0.25 * square) / (2 * 0.25)
    for values, expected in ((found.rate, rate), (found.distortion, distortion)):
        error, stderr = mean_and_stderr(np.asarray(values) - expected)
        assert abs(error) < 4 * stderr


@pytest.mark.parametrize("num", [1, 2, 5])
def test_posteriors_far_apart_say_which_x_it_is(num):
    """log num nats, each of them."""
    x = 100.0 * jnp.arange(num)[:, None]
    found = information(KEY, LATENT, x, guide=lambda x: normal(x, 0.1))
    np.testing.assert_allclose(found.information, np.log(num), atol=1e-4)


def test_a_guide_that_does_not_look_says_nothing_whatever_its_rate():
    x = jnp.arange(50.0)[:, None]
    found = information(KEY, LATENT, x, guide=lambda x: normal(3.0 + 0 * x, 0.1))
    np.testing.assert_allclose(found.information, 0.0, atol=1e-4)
    assert np.mean(found.rate) > 5


def test_of_normals_it_is_the_information_of_a_gaussian_channel():
    """x ~ N(0, 1), q(z | x) = N(x, s^2): I = 0.5 log(1 + 1 / s^2), up to that of a finite set."""
    x = jax.random.normal(jax.random.key(2), (2000, 1))
    found = information(KEY, LATENT, x, guide=lambda x: normal(x, 1.0))
    mean, stderr = mean_and_stderr(found.information)
    assert mean == pytest.approx(0.5 * np.log(2), abs=4 * stderr + 0.01)  # 0.01: of the finite set
