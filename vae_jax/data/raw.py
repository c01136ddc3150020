"""A data set before any model's view of it, and what must not be torn apart when it is split."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Int, Integer

LEFT_OUT = -1
"""The group of rows that no part of a split has."""


class GivenSplit(NamedTuple):
    """A split that comes with the data: rows in the order train, validation, test.

    Attributes:
        num_train: rows of the training part.
        num_validation: rows of the validation part; 0 where only train and test are given.
        num_test: rows of the test part.
    """

    num_train: int
    num_validation: int
    num_test: int


class RawImages(NamedTuple):
    """A data set before any model's view of it.

    Attributes:
        images: grey levels or counts 0 .. num_levels - 1, `[num, height, width]`.
        labels: classes, or None.
        num_levels: how many grey levels a pixel can have.
        split: the split that comes with the data, or None.
        groups: rows of the same number stay together where the data are split, and those of
            `LEFT_OUT` stay outside; None where each row is alone.
    """

    images: Integer[np.ndarray, "num height width"]
    labels: Int[np.ndarray, " num"] | None
    num_levels: int
    split: GivenSplit | None = None
    groups: Int[np.ndarray, " num"] | None = None
