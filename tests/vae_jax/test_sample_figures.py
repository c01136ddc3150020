"""Figures of one model's latents, where a linear-Gaussian model says what they must show."""

import io

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from PIL import Image, ImageSequence
from scipy import stats

from bayes_jax.errors import InputError
from bayes_jax.exact import linear_gaussian
from bayes_jax.model import GenerativeModel
from vae_jax.configs import ObservationSpec
from vae_jax.sample_figures import (
    IMAGES,
    Subject,
    brightest,
    latent_walk,
    lower_halves,
    subject,
    unit_traversals,
)

SHAPE = (4, 3)
# The second latent moves the first row, the third one the last row, less; the first one nothing.
LOADING = np.zeros((12, 3), np.float32)
LOADING[:3, 1], LOADING[-3:, 2] = 0.15, 0.05
VARIANCE, MEAN = 0.01, 0.5
KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def model():
    params = (jnp.asarray(leaf) for leaf in (LOADING, np.full(12, MEAN), np.full(12, VARIANCE)))
    return linear_gaussian.generative(linear_gaussian.LinearGaussian(*params))


@pytest.fixture(scope="module")
def x(model):
    return np.asarray(model.sample(jax.random.key(1), 400))


def test_active_units_are_those_whose_mean_varies_the_busiest_first(model, x):
    assert unit_traversals.active_units(Subject(model, "linear", SHAPE), x) == [1, 2]


def test_a_traversal_moves_one_unit_through_its_prior(model, x):
    shown = unit_traversals.traverse(KEY, Subject(model, "linear", SHAPE), x, units=[1, 2])
    first, moved = shown[:, 0].reshape(2, 12), shown[:, 1:].reshape(2, -1, 12)
    np.testing.assert_array_equal(first[0], first[1])
    assert np.any(np.all(np.abs(np.clip(x, 0, 1) - first[0]) < 1e-6, axis=1))
    for row, pixels in enumerate((slice(0, 3), slice(9, 12))):
        z = (moved[row][:, pixels] - MEAN) / LOADING[pixels, row + 1]
        check_quantiles(z)
        others = np.delete(moved[row], pixels, axis=1)
        np.testing.assert_allclose(others, others[:1].repeat(len(others), axis=0), atol=1e-6)


def check_quantiles(standard):
    """Of 10,000 draws from a standard normal, each within 4 standard errors."""
    share = stats.norm.cdf(unit_traversals.DEVIATIONS)
    stderr = np.sqrt(share * (1 - share) / 10_000) / stats.norm.pdf(unit_traversals.DEVIATIONS)
    errors = np.abs(standard - unit_traversals.DEVIATIONS[:, None])
    np.testing.assert_array_less(errors, np.broadcast_to(4 * stderr[:, None], errors.shape))


def test_quantiles_are_those_of_the_prior_whatever_its_place_and_scale():
    loc, scale = np.array([0.0, 3.0]), np.array([1.0, 0.1])
    found = unit_traversals.prior_quantiles(KEY, dist.Normal(loc, scale).to_event(1))
    check_quantiles((np.asarray(found) - loc) / scale)


def test_units_that_all_sleep_are_no_picture(x):
    params = jnp.zeros((12, 3)), jnp.full(12, MEAN), jnp.full(12, VARIANCE)
    asleep = linear_gaussian.generative(linear_gaussian.LinearGaussian(*params))
    with pytest.raises(InputError, match="linear has no active latent unit"):
        unit_traversals.traversals(KEY, Subject(asleep, "linear", SHAPE), x)


@pytest.mark.parametrize("way", ["exact", "mcmc"])
def test_lower_halves_are_drawn_and_upper_halves_kept(model, x, way):
    """The last row depends on nothing above it: its draws have its marginal law."""
    model = model if way == "exact" else model._replace(completion=None)
    linear, some = Subject(model, "linear", SHAPE), x[:3]
    unread = np.where(np.arange(12) < 6, some, np.nan).astype(np.float32)
    drawn, hidden = lower_halves.draw_lower_halves(KEY, linear, unread)
    completed = np.asarray(drawn.x)
    assert completed.shape == (3, lower_halves.NUM_DRAWN, 12)
    np.testing.assert_array_equal(hidden, np.arange(12)[None] >= np.full((3, 1), 6))
    kept = np.broadcast_to(some[:, None, :6], (3, lower_halves.NUM_DRAWN, 6))
    np.testing.assert_array_equal(completed[..., :6], kept)
    rows = completed[..., 9:].mean(axis=-1).ravel()
    sd = np.sqrt(0.05**2 + VARIANCE / 3)
    assert abs(rows.mean() - MEAN) < 4 * sd / np.sqrt(len(rows))
    assert 0.5 * sd < rows.std() < 1.6 * sd


def test_a_walk_is_a_film_through_the_means_of_test_images(model, x):
    linear = Subject(model, "linear", SHAPE)
    posterior = np.asarray(jax.vmap(lambda x: model.posterior(x).mean)(x))
    stops = np.asarray(latent_walk.stops(KEY, linear, x))
    assert stops.shape == (latent_walk.NUM_STOPS, 3)
    distances = np.linalg.norm(posterior[:, None] - stops, axis=-1)
    assert distances.min(axis=0).max() < 1e-5
    film = Image.open(io.BytesIO(latent_walk.walk(KEY, linear, x)))
    assert film.info["loop"] == 0
    # Equal frames in a row are stored as one that stays.
    seconds = sum(frame.info["duration"] for frame in ImageSequence.Iterator(film)) / 1000
    num_frames = latent_walk.NUM_STOPS * latent_walk.NUM_STEPS
    assert seconds == pytest.approx(num_frames * latent_walk.SECONDS_PER_FRAME)


def test_without_a_way_to_z_a_walk_goes_from_draw_to_draw(model, x):
    blind = Subject(model._replace(posterior=None, completion=None), "blind", SHAPE)
    assert latent_walk.stops(KEY, blind, x).shape == (latent_walk.NUM_STOPS, 3)
    for name in ("reconstructions.png", "interpolations.png", "traversals.png"):
        with pytest.raises(InputError, match=r"^blind has no encoder$"):
            IMAGES[name](KEY, blind, x)


def test_a_model_without_a_latent_says_so(x):
    density = Subject(GenerativeModel(None, None), "density", SHAPE)
    for name in IMAGES.keys() - {"halves.png"}:
        with pytest.raises(InputError, match=r"^density has no continuous latent$"):
            IMAGES[name](KEY, density, x)
    with pytest.raises(InputError, match="neither a completion in closed form nor"):
        IMAGES["halves.png"](KEY, density, x)


def test_images_are_spread_evenly():
    x = np.arange(10.0)[:, None]
    np.testing.assert_array_equal(subject.spread(x, 3)[:, 0], [0, 3, 6])
    np.testing.assert_array_equal(subject.spread(x, 99), x)


def test_a_count_that_stands_out_does_not_darken_the_others():
    x = np.concatenate([np.zeros(500), np.repeat([1, 2, 4], 100), [5000]]).reshape(-1, 3)
    counts = ObservationSpec(3, "poisson", num_levels=5001)
    assert brightest(x, counts) == 4
    assert brightest(0 * x, counts) == 5000
    assert brightest(x / 5000, ObservationSpec(3, "bernoulli")) == 1
