"""A data set as a model sees it: three splits of flattened observations."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from vae_jax.configs import ObservationSpec


class Dataset(NamedTuple):
    """Three splits of one data set.

    Attributes:
        name: as asked for.
        train: `[num, dim]`: uint8 bits, levels or counts, or float32 in (0, 1), as the spec says.
        validation: the same.
        test: the same.
        train_labels: `[num]` int32, or None where there are none.
        validation_labels: the same.
        test_labels: the same.
        image_shape: (height, width), dim = height * width.
        num_levels: grey levels of the source; a dequantized x is (level + u) / num_levels.
        spec: what systems need to know.
        observe: `(key, levels) -> x` where `train` holds grey levels whose noise each training step
            draws anew; else None.
        held_out: `[num, dim]`, all images of the class that no split has, as test images are; None
            where no class was held out.
    """

    name: str
    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    train_labels: np.ndarray | None
    validation_labels: np.ndarray | None
    test_labels: np.ndarray | None
    image_shape: tuple[int, int]
    num_levels: int
    spec: ObservationSpec
    observe: Callable | None = None
    held_out: np.ndarray | None = None
