"""Through the latent space and back: held to the closed form of a linear-Gaussian model."""

import jax.numpy as jnp
import numpy as np
import pytest

from bayes_jax.exact import linear_gaussian
from bayes_jax.model import GenerativeModel
from vae_jax.latent_images import decode, encode, encoder, interpolate, to_images

RNG = np.random.default_rng(0)
LOADING, MEAN = RNG.normal(size=(6, 2)).astype(np.float32), RNG.random(6).astype(np.float32)
VARIANCE = np.full(6, 0.3, np.float32)
X = RNG.random((5, 6)).astype(np.float32)


@pytest.fixture(scope="module")
def model():
    params = (jnp.asarray(leaf) for leaf in (LOADING, MEAN, VARIANCE))
    return linear_gaussian.generative(linear_gaussian.LinearGaussian(*params))


def test_images_are_encoded_to_posterior_means_and_decoded_to_means(model):
    precision = np.eye(2) + LOADING.T @ LOADING / 0.3
    means = np.linalg.solve(precision, LOADING.T @ (X - MEAN).T / 0.3).T
    z = encode(encoder(model), X)
    np.testing.assert_allclose(z, means, atol=1e-5)
    np.testing.assert_allclose(decode(model.latent, z), means @ LOADING.T + MEAN, atol=1e-5)


def test_the_guide_encodes_where_there_is_one(model):
    both = model._replace(guide=lambda x: None)
    assert encoder(both) is both.guide
    assert encoder(model) is model.posterior
    assert encoder(model._replace(posterior=None)) is None
    discrete = GenerativeModel(None, None, posterior=model.posterior)
    assert encoder(discrete) is None


def test_interpolation_goes_straight_from_end_to_end():
    start, end = jnp.asarray([[0.0, 1.0], [2.0, 2.0]]), jnp.asarray([[4.0, 1.0], [2.0, -2.0]])
    lines = interpolate(start, end, num_steps=5)
    np.testing.assert_allclose(lines[0], [[0, 1], [1, 1], [2, 1], [3, 1], [4, 1]])
    np.testing.assert_allclose(lines[1], [[2, 2], [2, 1], [2, 0], [2, -1], [2, -2]])


def test_images_have_their_shape_and_stay_within_black_and_white():
    images = to_images(np.asarray([[-1.0, 0.2, 0.4, 0.6, 0.8, 3.0]]), (2, 3))
    np.testing.assert_allclose(images, [[[0, 0.2, 0.4], [0.6, 0.8, 1]]])
