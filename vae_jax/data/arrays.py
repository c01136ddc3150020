"""A data set as arrays: split, and binarized or dequantized, all fixed by one seed."""

import math
from collections.abc import Callable

import numpy as np
from jaxtyping import Float32, Int, Integer, UInt8
from numpy.typing import ArrayLike

from bayes_jax.errors import InputError
from vae_jax.configs import REPRESENTATIONS, DataConfig, Head, ObservationSpec
from vae_jax.data.dataset import Dataset
from vae_jax.data.fresh import fresh_bits, fresh_unit
from vae_jax.data.raw import LEFT_OUT, GivenSplit, RawImages
from vae_jax.data.sources import load_raw

VALIDATION_SHARE, TEST_SHARE = 0.1, 0.2
"""Of the rows, where no split is given; 70 % stay for training."""

_GIVEN_VALIDATION_SHARE = 1 / 6  # of the given training rows: 10,000 of MNIST's 60,000
_SPLIT_STREAM, _NOISE_STREAM = 0, 1


def load(config: DataConfig) -> Dataset:
    """Load a data set as its config asks for it.

    Bits: x = 1 where the level is in the upper half, level >= (num_levels - 1) / 2 (digits: 8 of
    0..16, MNIST: 128 of 0..255). Unit: x = (level + u) / num_levels with u ~ U(0, 1) drawn once by
    the data seed (Theis, van den Oord, Bethge 2016, arXiv 1511.01844). Levels, counts: as stored.
    With fresh noise the training split stays grey levels, and `observe` makes bits or pixels of
    them; validation and test images are drawn once by the data seed, bits from Bernoulli(level /
    white).

    Args:
        config: which data, seen as what.

    Returns:
        Three disjoint splits. `spec.min_variance` is 1 / (12 num_levels^2), the variance of the
        dequantization noise: the one floor of every Gaussian variance in a comparison.

    Raises:
        InputError: data that cannot be loaded, that have no grey levels to dequantize, or no image
            of the class to hold out, or no other.
    """
    raw = load_raw(config.name, config.data_dir)
    if raw.num_levels == 2 and config.noise == "fresh":
        raise InputError(
            f"noise is fresh and {config.name} has 2 grey levels: expected noise fixed, for there "
            "is nothing to draw"
        )
    x = _observe(raw, config)
    train = raw.images.reshape(len(x), -1) if config.noise == "fresh" else x
    is_held_out = _is_held_out(raw, config)
    indices = split_indices(len(x), raw.split, seed=config.seed, groups=raw.groups)
    indices = [index[~is_held_out[index]] for index in indices]
    _, height, width = raw.images.shape
    spec = ObservationSpec(
        dim=height * width,
        head=config.observation,
        min_variance=1 / (12 * raw.num_levels**2),
        num_levels=raw.num_levels,
        num_components=config.num_components,
        fixed_scale=config.fixed_scale,
        image_shape=(height, width),
    )
    labels = [None if raw.labels is None else raw.labels[index] for index in indices]
    parts = [part[index] for part, index in zip((train, x, x), indices, strict=True)]
    if config.mirrored:
        parts[0] = _with_mirrored(parts[0], (height, width))
        labels[0] = None if raw.labels is None else np.tile(labels[0], 2)
    return Dataset(
        config.name,
        *parts,
        *labels,
        image_shape=(height, width),
        num_levels=raw.num_levels,
        spec=spec,
        observe=_fresh(raw, config) if config.noise == "fresh" else None,
        held_out=None if config.held_out_label is None else x[is_held_out],
    )


def split_indices(
    num: int,
    given: GivenSplit | None = None,
    *,
    seed: int,
    groups: Int[np.ndarray, " num"] | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows of the training, validation and test part, disjoint, together all rows.

    A given split is kept; where it lacks a validation part, a sixth of its training rows, chosen by
    the seed, is it. Without one the seed chooses 70 / 10 / 20 %: of the rows, or of the groups,
    which stay whole.

    Args:
        num: how many rows.
        given: the split that comes with the data.
        seed: chooses the rows.
        groups: of the rows where no split is given; those of `LEFT_OUT` are in no part.

    Returns:
        Three sorted arrays of row numbers.

    Raises:
        InputError: fewer than 10 rows, so that a part would be empty.
    """
    if num < 10:
        raise InputError(f"the data hold {num} images: expected at least 10 to split")
    rng = np.random.default_rng([seed, _SPLIT_STREAM])
    if given is None:
        return _split_groups(rng, np.arange(num) if groups is None else groups)
    order = rng.permutation(given.num_train)
    num_carved = 0 if given.num_validation else round(_GIVEN_VALIDATION_SHARE * len(order))
    carved, train = np.split(order, [num_carved])
    rest = np.arange(given.num_train, num)
    validation = np.concatenate([carved, rest[: given.num_validation]])
    return np.sort(train), np.sort(validation), rest[given.num_validation :]


def _split_groups(rng: np.random.Generator, groups: np.ndarray) -> tuple:
    names = np.setdiff1d(groups, LEFT_OUT)
    num_validation, num_test = round(VALIDATION_SHARE * len(names)), round(TEST_SHARE * len(names))
    order = rng.permutation(names)
    validation, test, train = np.split(order, [num_validation, num_validation + num_test])
    return tuple(np.flatnonzero(np.isin(groups, part)) for part in (train, validation, test))


def binarize(
    levels: Integer[np.ndarray, "num dim"], num_levels: int
) -> UInt8[np.ndarray, "num dim"]:
    """1 where a level is in the upper half of 0 .. num_levels - 1, else 0."""
    return (levels >= (num_levels - 1) / 2).astype(np.uint8)


def sample_bits(
    levels: Integer[np.ndarray, "num dim"], num_levels: int, *, seed: int
) -> UInt8[np.ndarray, "num dim"]:
    """1 with probability level / (num_levels - 1), else 0."""
    draws = np.random.default_rng([seed, _NOISE_STREAM]).random(levels.shape, dtype=np.float32)
    return (draws < levels / np.float32(num_levels - 1)).astype(np.uint8)


def dequantize(
    levels: Integer[np.ndarray, "num dim"], num_levels: int, *, seed: int
) -> Float32[np.ndarray, "num dim"]:
    """(level + u) / num_levels with u ~ U(0, 1), inside (0, 1)."""
    x = np.random.default_rng([seed, _NOISE_STREAM]).random(levels.shape, dtype=np.float32)
    x += levels
    x /= num_levels
    # In float32 255 + u may round to 256, and u may be 0.
    epsilon = np.finfo(np.float32).epsneg
    return np.clip(x, epsilon, 1 - epsilon, out=x)


def bits_per_dim(
    log_prob: ArrayLike, *, dim: int, observation: Head, num_levels: int
) -> np.ndarray:
    """-log2 p(x) per pixel, of a grey level and not of a point in (0, 1).

    -log p / (dim log 2); for pixels dequantized to (0, 1) the same + log2 num_levels, because a
    level is an interval of width 1 / num_levels; then it is an upper bound on the bits of the
    discrete image (Theis, van den Oord, Bethge 2016, arXiv 1511.01844).

    Args:
        log_prob: log p(x) in nats per image, any shape.
        dim: pixels of an image.
        observation: the head.
        num_levels: grey levels of the source.

    Returns:
        Bits per pixel, float64, the shape of log_prob.
    """
    bits = -np.asarray(log_prob, np.float64) / (dim * math.log(2))
    is_density = REPRESENTATIONS[observation] == "unit"
    return np.asarray(bits + math.log2(num_levels) if is_density else bits)


def _is_held_out(raw: RawImages, config: DataConfig) -> np.ndarray:
    """Whether each image is of the class that no split has; the others stay in their splits."""
    label = config.held_out_label
    if label is None:
        return np.zeros(len(raw.images), bool)
    known = [] if raw.labels is None else np.unique(raw.labels).tolist()
    if label not in known or len(known) < 2:
        raise InputError(
            f"held_out_label is {label}: expected one of several classes of {config.name}, which "
            f"has {', '.join(map(str, known)) or 'no labels'}"
        )
    return raw.labels == label


def _observe(raw: RawImages, config: DataConfig) -> np.ndarray:
    levels = raw.images.reshape(len(raw.images), -1)
    representation = REPRESENTATIONS[config.observation]
    if representation == "bits" and config.noise == "fresh":
        return sample_bits(levels, raw.num_levels, seed=config.seed)
    if representation == "bits":
        return binarize(levels, raw.num_levels)
    if representation in ("levels", "counts"):
        return levels
    if raw.num_levels == 2:
        raise InputError(
            f"{config.name} has 2 grey levels and observation is {config.observation!r}: "
            "expected observation bernoulli for binary images"
        )
    return dequantize(levels, raw.num_levels, seed=config.seed)


def _with_mirrored(x: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    mirrored = x.reshape(-1, *shape)[:, :, ::-1].reshape(x.shape)
    return np.concatenate([x, mirrored])


def _fresh(raw: RawImages, config: DataConfig) -> Callable:
    is_bits = REPRESENTATIONS[config.observation] == "bits"
    return fresh_bits(raw.num_levels) if is_bits else fresh_unit(raw.num_levels)
