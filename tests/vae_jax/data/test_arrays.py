"""A data set as arrays: disjoint and stable splits, and both views of a pixel."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from bayes_jax.errors import InputError
from vae_jax.configs import DataConfig, VAEConfig
from vae_jax.data import arrays
from vae_jax.data.fresh import fresh_bits, fresh_unit
from vae_jax.data.sources import GivenSplit, load_raw
from vae_jax.systems import build
from vae_jax.systems.base import observing

PARTS = ("train", "validation", "test")


@pytest.mark.parametrize("given", [None, GivenSplit(60, 0, 40), GivenSplit(50, 20, 30)])
@pytest.mark.parametrize("seed", [0, 7])
def test_a_split_takes_every_row_once(given, seed):
    parts = arrays.split_indices(100, given, seed=seed)
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(100))
    sizes = [len(part) for part in parts]
    assert sizes == ([70, 10, 20] if given is None else sizes)
    for part, again in zip(parts, arrays.split_indices(100, given, seed=seed), strict=True):
        np.testing.assert_array_equal(part, again)


def test_a_given_split_is_kept():
    train, validation, test = arrays.split_indices(100, GivenSplit(50, 20, 30), seed=3)
    np.testing.assert_array_equal(train, np.arange(50))
    np.testing.assert_array_equal(validation, np.arange(50, 70))
    np.testing.assert_array_equal(test, np.arange(70, 100))


def test_validation_is_carved_from_the_given_training_rows():
    train, validation, test = arrays.split_indices(100, GivenSplit(60, 0, 40), seed=3)
    np.testing.assert_array_equal(test, np.arange(60, 100))
    assert (len(train), len(validation)) == (50, 10)
    other = arrays.split_indices(100, GivenSplit(60, 0, 40), seed=4)[1]
    assert not np.array_equal(validation, other)


PINNED = {"train": [0, 1, 3, 4], "validation": [12, 20, 28, 53], "test": [2, 13, 38, 41]}


def test_the_split_of_digits_does_not_move():
    """A published number holds only for its split: row numbers are pinned."""
    train, validation, test = arrays.split_indices(1797, seed=0)
    assert (len(train), len(validation), len(test)) == (1258, 180, 359)
    assert train[:4].tolist() == PINNED["train"]
    assert validation[:4].tolist() == PINNED["validation"]
    assert test[:4].tolist() == PINNED["test"]


def test_too_few_images_are_refused():
    with pytest.raises(InputError, match="hold 9 images"):
        arrays.split_indices(9, seed=0)


def reassemble(dataset, field=""):
    return np.concatenate([getattr(dataset, f"{part}{field}") for part in PARTS])


def test_binary_digits_are_levels_of_eight_and_more():
    from sklearn.datasets import load_digits

    dataset = arrays.load(DataConfig())
    parts = arrays.split_indices(1797, seed=0)
    expected = load_digits().data[np.concatenate(parts)] >= 8
    x = reassemble(dataset)
    assert x.dtype == np.uint8
    np.testing.assert_array_equal(x, expected)
    np.testing.assert_array_equal(
        reassemble(dataset, "_labels"), load_digits().target[np.concatenate(parts)]
    )
    assert dataset.image_shape == (8, 8)
    assert (dataset.spec.dim, dataset.spec.head) == (64, "bernoulli")


def test_grey_digits_are_dequantized_once_per_seed():
    from sklearn.datasets import load_digits

    dataset = arrays.load(DataConfig(observation="gaussian", seed=5))
    order = np.concatenate(arrays.split_indices(1797, seed=5))
    x = reassemble(dataset)
    noise = 17 * x.astype(np.float64) - load_digits().data[order]
    assert x.dtype == np.float32
    assert x.min() > 0
    assert x.max() < 1
    # u is uniform on (0, 1): Kolmogorov-Smirnov distance, 1.95 / sqrt(n) is its 0.1 % point.
    ranks = np.sort(noise.ravel())
    distance = np.max(np.abs(ranks - (np.arange(ranks.size) + 0.5) / ranks.size))
    assert distance < 1.95 / np.sqrt(ranks.size)
    again = arrays.load(DataConfig(observation="gaussian", seed=5))
    np.testing.assert_array_equal(x, reassemble(again))
    assert dataset.spec.min_variance == pytest.approx(np.var(noise) / 17**2, rel=0.02)
    other = arrays.load(DataConfig(observation="gaussian", seed=6))
    assert not np.array_equal(np.sort(x.ravel()), np.sort(reassemble(other).ravel()))


@pytest.mark.parametrize("noise", ["fixed", "fresh"])
def test_training_images_may_be_seen_mirrored_too(noise):
    plain, both = (
        arrays.load(DataConfig("digits", "gaussian", noise=noise, mirrored=mirrored))
        for mirrored in (False, True)
    )
    num = len(plain.train)
    np.testing.assert_array_equal(both.train[:num], plain.train)
    images, mirrored = (part.reshape(-1, 8, 8) for part in (plain.train, both.train[num:]))
    np.testing.assert_array_equal(mirrored, np.flip(images, axis=2))
    np.testing.assert_array_equal(both.train_labels, [*plain.train_labels] * 2)
    for part in ("validation", "test"):
        np.testing.assert_array_equal(getattr(both, part), getattr(plain, part))


def test_the_brightest_level_stays_below_one():
    x = arrays.dequantize(np.full((1000, 784), 255, np.uint8), 256, seed=0)
    assert x.max() < 1
    assert x.min() > 254.9 / 256


@pytest.mark.parametrize("num_levels", [2, 17, 256])
def test_binary_is_the_upper_half(num_levels):
    levels = np.arange(num_levels, dtype=np.uint8)[None]
    x = arrays.binarize(levels, num_levels)
    assert x.sum() == -(-num_levels // 2)
    assert np.all(np.diff(x[0].astype(int)) >= 0)


def test_binary_images_have_no_grey_levels(tmp_path):
    np.save(tmp_path / "bits.npy", np.eye(16, dtype=np.uint8))
    config = DataConfig(str(tmp_path / "bits.npy"), observation="gaussian")
    with pytest.raises(InputError, match="2 grey levels"):
        arrays.load(config)


def test_bits_per_dim_of_known_distributions():
    """Fair coins are 1 bit a pixel; uniform density on (0, 1) is log2(num_levels) bits."""
    coins = 784 * np.log(0.5)
    bits = arrays.bits_per_dim(coins, dim=784, observation="bernoulli", num_levels=2)
    assert float(bits) == pytest.approx(1.0)
    flat = arrays.bits_per_dim(np.zeros(3), dim=64, observation="gaussian", num_levels=256)
    np.testing.assert_allclose(flat, 8.0)


def test_bits_per_dim_bound_the_entropy_of_discrete_pixels():
    """A density that is flat inside each level costs exactly the bits of the levels."""
    probabilities = np.array([0.5, 0.25, 0.125, 0.125])
    rng = np.random.default_rng(0)
    levels = rng.choice(4, size=(2000, 8), p=probabilities).astype(np.uint8)
    x = arrays.dequantize(levels, 4, seed=0)
    density = 4 * probabilities[np.floor(4 * x).astype(int)]
    log_prob = np.log(density).sum(axis=1)
    bits = arrays.bits_per_dim(log_prob, dim=8, observation="gaussian", num_levels=4)
    stderr = bits.std(ddof=1) / np.sqrt(len(bits))
    assert abs(bits.mean() - 1.75) < 4 * stderr


def test_mnist_keeps_its_test_images(data_dir):
    dataset = arrays.load(DataConfig("mnist", data_dir=str(data_dir)))
    assert [len(getattr(dataset, part)) for part in PARTS] == [50_000, 10_000, 10_000]
    np.testing.assert_array_equal(dataset.test_labels[:5], [7, 2, 1, 0, 4])
    levels = load_raw("mnist", str(data_dir)).images[60_000:]
    np.testing.assert_array_equal(dataset.test, (levels > 127).reshape(10_000, 784))


def test_binarized_mnist_keeps_its_split(data_dir):
    config = DataConfig("binarized_mnist", data_dir=str(data_dir))
    dataset = arrays.load(config)
    assert [len(getattr(dataset, part)) for part in PARTS] == [50_000, 10_000, 10_000]
    assert dataset.train_labels is None
    with pytest.raises(InputError, match="binarized_mnist has 2 grey levels"):
        arrays.load(DataConfig("binarized_mnist", "gaussian", str(data_dir)))


# --- noise drawn anew ----------------------------------------------------------------------------


def test_fresh_bits_have_the_levels_as_their_probabilities():
    levels = jnp.arange(0, 256, 5, dtype=jnp.float32)
    draws = jax.vmap(fresh_bits(256), (0, None))(jax.random.split(jax.random.key(0), 4000), levels)
    assert set(np.unique(draws)) == {0.0, 1.0}
    p = np.asarray(levels) / 255
    errors = (np.asarray(draws).mean(0) - p) / np.sqrt(np.maximum(p * (1 - p), 1e-9) / 4000)
    assert np.abs(errors).max() < 4.5
    assert fresh_bits(256) is fresh_bits(256)


@pytest.mark.parametrize("num_levels", [2, 17, 256])
def test_fresh_bits_miss_their_probabilities_by_a_16_bit_step_at_most(num_levels, monkeypatch):
    """Exactly: over all 2^16 numbers that a pixel may draw, each once."""
    all_numbers = jnp.arange(2**16, dtype=jnp.uint32) + jnp.uint32(7 << 16)
    monkeypatch.setattr("vae_jax.data.fresh.random_bits", lambda key, shape: all_numbers)
    levels = np.arange(num_levels)
    observe = fresh_bits(num_levels)
    shares = [observe(None, jnp.full(2**16, level, jnp.float32)).mean() for level in levels]
    white = num_levels - 1
    assert (shares[0], shares[white]) == (0, 1)
    assert np.abs(np.array(shares, np.float64) - levels / white).max() <= 2**-16


def test_fresh_pixels_are_uniform_within_their_level():
    levels = jnp.array([0.0, 3.0, 16.0])
    draws = jax.vmap(fresh_unit(17), (0, None))(jax.random.split(jax.random.key(0), 4000), levels)
    noise = 17 * np.asarray(draws) - np.asarray(levels)
    assert (np.asarray(draws) > 0).all()
    assert (np.asarray(draws) < 1).all()
    for column in noise.T:
        assert stats.kstest(column, "uniform").pvalue > 1e-3


@pytest.mark.parametrize("observation", ["bernoulli", "gaussian"])
def test_fresh_noise_keeps_levels_for_training_and_draws_the_rest_once(observation):
    fixed = arrays.load(DataConfig("digits", observation))
    fresh = arrays.load(DataConfig("digits", observation, noise="fresh"))
    again = arrays.load(DataConfig("digits", observation, noise="fresh"))
    assert fresh.train.dtype == np.uint8
    assert fresh.train.max() == 16
    np.testing.assert_array_equal(fresh.validation, again.validation)
    assert fresh.observe is again.observe
    assert fixed.observe is None
    seen = np.asarray(fresh.observe(jax.random.key(0), jnp.asarray(fresh.train, jnp.float32)))
    if observation == "gaussian":
        np.testing.assert_array_equal(fresh.test, fixed.test)
        np.testing.assert_array_equal(np.floor(17 * seen), fresh.train)
    else:
        assert abs(seen.mean() - fresh.train.mean() / 16) < 0.005
        assert abs(fresh.test.mean() - fresh.train.mean() / 16) < 0.02


@pytest.mark.parametrize("fresh", [fresh_bits, fresh_unit])
def test_fresh_noise_of_bytes_is_that_of_floats(fresh):
    """A state begins with the bytes that are stored, a step has floats."""
    levels = np.arange(256, dtype=np.uint8)
    of_bytes, of_floats = (
        fresh(256)(jax.random.key(0), jnp.asarray(levels, dtype)) for dtype in (np.uint8, float)
    )
    np.testing.assert_array_equal(of_bytes, of_floats)
    assert 0.3 < of_bytes.mean() < 0.7


def test_a_vae_of_fresh_bits_begins_at_the_mean_of_its_pixels():
    data = arrays.load(DataConfig("digits", noise="fresh"))
    system = observing(build("vae", VAEConfig(2, (4,)), data.spec), data.observe)
    state = jax.jit(system.init)(jax.random.key(0), jnp.asarray(data.train))
    bias = np.asarray(state.params["decoder"]["params"]["output"]["bias"])
    shares = np.clip(data.train.mean(axis=0) / 16, 1e-3, 1 - 1e-3)
    np.testing.assert_allclose(1 / (1 + np.exp(-bias)), shares, atol=0.06)


def test_bits_have_no_fresh_noise(tmp_path):
    path = tmp_path / "bits.npy"
    np.save(path, np.eye(40, 16, dtype=np.uint8).reshape(40, 4, 4))
    with pytest.raises(InputError, match=r"bits\.npy has 2 grey levels: expected noise fixed"):
        arrays.load(DataConfig(str(path), noise="fresh"))


def test_levels_have_no_fresh_noise():
    with pytest.raises(ValueError, match=r"noise is 'fresh': expected fixed, for categorical"):
        DataConfig("digits", "categorical", noise="fresh")


@pytest.mark.parametrize(
    ("head", "field", "value"),
    [("logistic_mixture", "num_components", 3), ("gaussian_fixed", "fixed_scale", 0.3)],
)
def test_options_of_a_head_reach_it(head, field, value):
    spec = arrays.load(DataConfig("digits", head, **{field: value})).spec
    assert getattr(spec, field) == value
