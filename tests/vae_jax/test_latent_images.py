"""Through the latent space and back: held to the closed form of a linear-Gaussian model."""

import jax.numpy as jnp
import numpy as np
import pytest

from bayes_jax.exact import linear_gaussian
from bayes_jax.model import GenerativeModel
from vae_jax.latent_images import decode, encode, encoder, interpolate, round_trip, to_images

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


def test_a_round_trip_leads_through_its_stops_along_great_circles():
    stops = RNG.normal(size=(4, 5)).astype(np.float32)
    points = np.asarray(round_trip(jnp.asarray(stops), num_steps=10))
    np.testing.assert_allclose(points[::10], stops, atol=1e-5)
    lengths = np.linalg.norm(points, axis=1).reshape(4, 10)
    ends = np.linalg.norm(np.roll(stops, -1, axis=0), axis=1)
    share = 0.5 - 0.5 * np.cos(np.pi * np.arange(10) / 10)
    expected = (1 - share) * lengths[:, :1] + share * ends[:, None]
    np.testing.assert_allclose(lengths, expected, rtol=1e-4)
    # Halfway it is as far from one stop's direction as from the other's, and it comes back.
    units = stops / np.linalg.norm(stops, axis=1, keepdims=True)
    np.testing.assert_allclose(
        np.sum(points[5::10] * units, axis=1),
        np.sum(points[5::10] * np.roll(units, -1, axis=0), axis=1),
        rtol=1e-4,
    )
    steps = np.linalg.norm(np.roll(points, -1, axis=0) - points, axis=1)
    assert steps[9::10].max() < 0.5 * steps[4::10].min()


@pytest.mark.parametrize("stops", [[[2.0], [-1.0]], [[0.0, 0.0], [1.0, 1.0]], [[1.0, 1.0]]])
def test_a_round_trip_goes_straight_where_there_is_no_circle(stops):
    points = np.asarray(round_trip(jnp.asarray(stops), num_steps=2))
    middles = (np.asarray(stops) + np.roll(stops, -1, axis=0)) / 2
    np.testing.assert_allclose(points[1::2], middles, atol=1e-6)
