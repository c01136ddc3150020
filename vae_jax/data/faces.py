"""Faces, in groups that a split must not tear apart: stretches of a film, people.

Frey's face is one man on 1,965 frames of a film: neighbours are nearly the same picture, so whole
stretches of `STRETCH` frames are held out, and the last `GAP` frames of each are left out, so that
no test frame stands beside a training frame. Olivetti's are 40 people, ten pictures of each: whole
people are held out. They are no classes, for a test picture is of nobody seen in training.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bayes_jax.errors import InputError
from vae_jax.data import formats
from vae_jax.data.raw import LEFT_OUT, RawImages

FOLDER = "faces"
"""Of the data sets' folder."""

STRETCH, GAP = 49, 5
"""Frames. Five frames apart a face differs by 25 grey levels, next to each other by 20, far apart
by 40 (root mean square)."""

_FREY_SHAPE, _OLIVETTI_SHAPE = (1965, 28, 20), (400, 64, 64)
_NUM_PICTURES = 10  # of each person


class FaceFile(NamedTuple):
    """A file of faces.

    Attributes:
        name: of the file.
        content: what it holds, for who has to make it.
        read: its path -> images in groups.
    """

    name: str
    content: str
    read: Callable[[Path], RawImages]


def read_freyfaces(path: Path) -> RawImages:
    """Frey's face, in stretches of the film.

    Args:
        path: an .npy file of uint8 `[1965, 28, 20]` or `[1965, 560]`, in the order of the film.

    Raises:
        InputError: a damaged file, or other content.
    """
    images = _checked(formats.read_npy(path), _FREY_SHAPE, path)
    frame = np.arange(len(images))
    is_gap = frame % STRETCH >= STRETCH - GAP
    groups = np.where(is_gap, LEFT_OUT, frame // STRETCH)
    # What remains after the last whole stretch is too short to be one.
    groups[frame >= len(frame) // STRETCH * STRETCH] = LEFT_OUT
    return RawImages(images, None, num_levels=256, groups=groups)


def read_olivetti(path: Path) -> RawImages:
    """Olivetti's faces, by people.

    Args:
        path: an .npz file of `images`, uint8 `[400, 64, 64]`, and `person`, ten times 0 to 39.

    Raises:
        InputError: a damaged file, or other content.
    """
    arrays = formats.read_npz(path)
    if missing := {"images", "person"} - arrays.keys():
        raise InputError(f"{path}: lacks {', '.join(sorted(missing))}: expected {OLIVETTI.content}")
    images = _checked(arrays["images"], _OLIVETTI_SHAPE, path)
    person = arrays["person"]
    expected = np.repeat(np.arange(len(images) // _NUM_PICTURES), _NUM_PICTURES)
    if not np.array_equal(np.sort(person, axis=None), expected):
        raise InputError(
            f"{path} [person]: {person.dtype} of shape {person.shape}, expected each of 0 to "
            f"{expected[-1]} {_NUM_PICTURES} times"
        )
    return RawImages(images, None, num_levels=256, groups=person.astype(np.int64))


def _checked(images: np.ndarray, shape: tuple[int, int, int], path: Path) -> np.ndarray:
    num, height, width = shape
    if images.dtype != np.uint8 or images.shape not in (shape, (num, height * width)):
        raise InputError(
            f"{path}: images are {images.dtype} of shape {images.shape}, expected uint8 {shape}"
        )
    return images.reshape(shape)


FREYFACES = FaceFile("freyfaces.npy", f"uint8 {_FREY_SHAPE}, in order", read_freyfaces)
OLIVETTI = FaceFile(
    "olivetti.npz", f"images, uint8 {_OLIVETTI_SHAPE}, and person, 0 to 39", read_olivetti
)
