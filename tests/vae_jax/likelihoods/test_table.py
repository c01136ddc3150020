"""Laws that every head keeps, whatever it is."""

import typing

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

from bayes_jax import InputError, LatentModel
from bayes_jax.model import check_observations
from vae_jax import configs
from vae_jax.configs import ObservationSpec
from vae_jax.likelihoods import make_head
from vae_jax.likelihoods.table import HEADS
from vae_jax.priors import standard_normal

DIM, NUM_LEVELS = 3, 6
NAMES = sorted(HEADS)
RNG = np.random.default_rng(0)
# A share of each pixel's range, with spread.
SHARES = RNG.beta([2, 5, 1], [3, 2, 1], (400, DIM))


def spec_of(name, **changes):
    options = {
        "min_variance": 1e-3,
        "num_levels": NUM_LEVELS,
        "num_components": 3,
        "fixed_scale": 0.3,
    }
    return ObservationSpec(DIM, name, **options | changes)


def observations(spec):
    if spec.representation == "bits":
        return (SHARES > 0.5).astype(np.uint8)
    if spec.representation == "unit":
        return SHARES.astype(np.float32)
    return np.floor(SHARES * NUM_LEVELS).astype(np.uint8)


def initial(name, **changes):
    spec = spec_of(name, **changes)
    head, x = make_head(spec), observations(spec)
    return head, head.initial_features(x), head.initial_params(x), x


def test_the_table_and_the_configs_name_the_same_heads():
    assert set(HEADS) == set(configs.REPRESENTATIONS) == set(typing.get_args(configs.Head))


@pytest.mark.parametrize("name", NAMES)
def test_features_have_the_shape_that_the_head_reads(name):
    head, features, params, _ = initial(name)
    assert features.shape == (head.num_features,)
    distribution = head.distribution(features, params)
    assert (distribution.batch_shape, distribution.event_shape) == ((), (DIM,))
    assert distribution.mean.shape == (DIM,)


@pytest.mark.parametrize("name", NAMES)
def test_one_pixel_has_total_probability_one(name):
    """A sum over its support, or an integral, with features that nobody chose."""
    head, features, params, _ = initial(name)
    features = features + 0.3 * jax.random.normal(jax.random.key(1), features.shape)
    distribution = head.distribution(features, params)
    representation = spec_of(name).representation
    if representation == "bits":
        points, width = np.arange(2.0), 1.0
    elif representation == "levels":
        points, width = np.arange(NUM_LEVELS, dtype=np.float32), 1.0
    elif representation == "counts":
        points, width = np.arange(2000.0), 1.0
    else:
        low, high = (0.0, 1.0) if name == "continuous_bernoulli" else (-8.0, 9.0)
        width = (high - low) / 20_000
        points = low + width * (np.arange(20_000) + 0.5)
    pixels = distribution.base_dist.log_prob(jnp.asarray(points, jnp.float32)[:, None])
    totals = np.exp(np.asarray(pixels, np.float64)).sum(axis=0) * width
    np.testing.assert_allclose(totals, 1, rtol=2e-4)


@pytest.mark.parametrize("name", NAMES)
def test_mean_and_variance_are_those_of_its_draws(name):
    head, features, params, _ = initial(name)
    features = features + 0.3 * jax.random.normal(jax.random.key(1), features.shape)
    distribution = head.distribution(features, params)
    draws = np.asarray(distribution.sample(jax.random.key(2), (20_000,)), np.float64)
    assert bool(jnp.all(distribution.support(jnp.asarray(draws, jnp.float32))))
    stderr = draws.std(axis=0) / np.sqrt(len(draws))
    np.testing.assert_array_less(abs(draws.mean(axis=0) - distribution.mean), 4.5 * stderr)
    spread = (draws - draws.mean(axis=0)) ** 2
    stderr = spread.std(axis=0) / np.sqrt(len(draws))
    if name != "categorical":  # NumPyro gives it no variance
        np.testing.assert_array_less(abs(spread.mean(axis=0) - distribution.variance), 5 * stderr)


@pytest.mark.parametrize("name", NAMES)
def test_it_starts_at_the_pixels_of_the_data(name):
    head, features, params, x = initial(name)
    mean = np.asarray(head.distribution(features, params).mean)
    # A logistic's mean level is not its loc where levels are few.
    room = 0.35 if "logistic" in name else 0.01 * np.ptp(x)
    np.testing.assert_allclose(mean, x.mean(axis=0), atol=room)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_those_of_finite_differences_and_finite_far_out(name):
    head, features, params, x = initial(name)

    def log_prob(features):
        return head.distribution(features, params).log_prob(x[0].astype(np.float32))

    features = features + 0.2
    direction = jax.random.normal(jax.random.key(3), features.shape)
    slope = jax.grad(log_prob)(features) @ direction
    step = 1e-2
    ends = log_prob(features + step * direction) - log_prob(features - step * direction)
    np.testing.assert_allclose(slope, ends / (2 * step), rtol=0.02, atol=0.02)
    for far in (-120.0, -30.0, 30.0, 120.0):
        value, gradient = jax.value_and_grad(log_prob)(jnp.full_like(features, far))
        assert np.isfinite(value)
        assert np.all(np.isfinite(gradient))


@pytest.mark.parametrize("name", NAMES)
def test_what_an_encoder_reads_is_of_unit_size(name):
    head, _, _, x = initial(name, num_levels=256)
    read = np.asarray(head.inputs(jnp.asarray(x * 1.0)))
    assert np.max(np.abs(read)) <= np.log1p(NUM_LEVELS)
    assert len(np.unique(read)) == len(np.unique(x))


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("bernoulli", 0.5),
        ("continuous_bernoulli", 1.5),
        ("discretized_logistic", 2.5),
        ("discretized_logistic", NUM_LEVELS),
        ("logistic_mixture", -1.0),
        ("categorical", NUM_LEVELS),
        ("poisson", 0.5),
        ("negative_binomial", -1.0),
    ],
)
def test_pixels_of_another_kind_are_refused(name, wrong):
    head, features, params, x = initial(name)

    def likelihood(features, z):
        del z
        return head.distribution(features, params)

    model = LatentModel(standard_normal(2), Partial(likelihood, features))
    x = x[:4].astype(np.float32)
    check_observations(model, x)
    x[2, 1] = wrong
    with pytest.raises(InputError, match=r"x\[2\] lies outside the support"):
        check_observations(model, x)


def test_equal_specs_share_one_head():
    assert make_head(spec_of("gaussian")) is make_head(spec_of("gaussian"))
