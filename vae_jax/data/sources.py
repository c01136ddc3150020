"""Named data sets -> raw images: packaged with scikit-learn, from a local folder, or downloaded.

Folders are searched in this order: `DataConfig.data_dir`, the variable VAE_JAX_DATA, the cache of
this project; in each first `<folder>/<data set>/<file>`, then `<folder>/<file>`. What no folder
holds is downloaded into the cache, but for faces; it enters the cache only if its content is the
known one.
"""

import os
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bayes_jax.errors import InputError
from vae_jax.data import faces, formats
from vae_jax.data.raw import GivenSplit, RawImages

FOLDER_VARIABLE = "VAE_JAX_DATA"


class RemoteFile(NamedTuple):
    """A public file: its name in a folder, the sha256 of its DECOMPRESSED bytes, its mirrors."""

    name: str
    sha256: str
    urls: tuple[str, ...]


_MNIST_MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
_AMAT_MIRRORS = ("http://www.cs.toronto.edu/~larocheh/public/datasets/binarized_mnist/",)


def _remote(name: str, sha256: str, mirrors: tuple[str, ...]) -> RemoteFile:
    return RemoteFile(name, sha256, tuple(mirror + name for mirror in mirrors))


MNIST = {
    name: _remote(f"{name}-ubyte.gz", sha256, _MNIST_MIRRORS)
    for name, sha256 in {
        "train-images-idx3": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "train-labels-idx1": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "t10k-images-idx3": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "t10k-labels-idx1": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    }.items()
}
BINARIZED_MNIST = {
    part: _remote(f"binarized_mnist_{part}.amat", sha256, _AMAT_MIRRORS)
    for part, sha256 in {
        "train": "ad693b29f94c14277b095f5238ddefbbdaaae0939789dd2f4f0205278cee3e4d",
        "valid": "1de3d397c40fe8eeb33dafd4099a1f665ec01e96d9be234aaeeac8a34930e2e2",
        "test": "e6687bfea3f820c174f33b7865140b2a2dd2930ef786f35d45795fc193b5ab2c",
    }.items()
}
PACKED_BINARIZED_MNIST = "binarized_mnist_packbits.npz"
_PACKED_WIDTH = 784 // 8
_PACKED_SHA256 = {
    "train": "727146c35424b019f3e350e1e69faa05644a0abaf787e3f4e1a9632220a13906",
    "valid": "a256ac44ae26be720fad8616a05ed6ecfd1619930d9a208379bb2a4405df5b6d",
    "test": "9fcd8da6f0fdf09b2ba30fe63a0bb784042a0de82563172530229b983e294ff2",
}


def load_raw(name: str, data_dir: str | None = None) -> RawImages:
    """Load a data set by its name, or images by the path of their file.

    Args:
        name: a key of `NAMED`, or a path that ends in .npz, .npy or -ubyte(.gz) (IDX).
        data_dir: the folder to look in first.

    Returns:
        The raw images.

    Raises:
        InputError: unknown name, or a file that is missing, damaged or not what it should be.
    """
    if name in NAMED:
        return NAMED[name](data_dir)
    if name.endswith((".npz", ".npy", "-ubyte", "-ubyte.gz")):
        return read_images(Path(name))
    known = (
        f"expected one of {', '.join(NAMED)}, or the path of an .npz, .npy or IDX file of images"
    )
    if Path(name).is_file():
        raise InputError(
            f"{name} is no file of images: {known}; text goes to train.py language_model, "
            "text_vae, text_hmm or ngram, tables to detect.py"
        )
    raise InputError(f"unknown data set {name!r}: {known}")


def read_images(path: Path) -> RawImages:
    """Read images from a file of one's own.

    An .npz holds the images under `images`, `x` or `X` and may hold classes under `labels` or `y`.
    uint8 images have 256 levels, or 2 if no pixel is above 1; so have other whole numbers, but for
    counts above 255, which have as many as it takes; floats in [0, 1] are rounded to 256 levels;
    booleans have 2. Rows of a 2-d array `[num, dim]` are square images if dim is a square,
    and images of height 1 otherwise.

    Args:
        path: an .npz, .npy or IDX file.

    Returns:
        The raw images, without a given split.

    Raises:
        InputError: a missing or damaged file, missing keys, wrong dtype or rank, NaN.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    arrays = _read_arrays(path)
    images, num_levels = _to_levels(_pick(arrays, ("images", "x", "X"), path), path)
    labels = _pick(arrays, ("labels", "y"), path, required=False)
    return RawImages(_to_images(images, path), _to_labels(labels, len(images), path), num_levels)


def search_folders(data_dir: str | None = None) -> list[Path]:
    """The folders to look in, first to last; the last one is the cache.

    Raises:
        InputError: data_dir or VAE_JAX_DATA names a folder that is not there.
    """
    import pooch

    named = {"data_dir": data_dir, FOLDER_VARIABLE: os.environ.get(FOLDER_VARIABLE)}
    for field, folder in named.items():
        if folder and not Path(folder).is_dir():
            raise InputError(f"{field} is {folder!r}: no such folder")
    return [Path(folder) for folder in (*named.values(), pooch.os_cache("vae_jax")) if folder]


def find(data_set: str, file_name: str, data_dir: str | None = None) -> Path | None:
    """Where a file of a data set lies on this machine, or None."""
    for folder in search_folders(data_dir):
        for path in (folder / data_set / file_name, folder / file_name):
            if path.is_file():
                return path
    return None


def _load_digits(data_dir: str | None) -> RawImages:
    from sklearn.datasets import load_digits

    digits = load_digits()
    return RawImages(digits.images.astype(np.uint8), digits.target.astype(np.int32), num_levels=17)


def _load_mnist(data_dir: str | None) -> RawImages:
    parts = {
        name: _find_or_download("mnist", file, formats.read_idx, data_dir)
        for name, file in MNIST.items()
    }
    images = parts["train-images-idx3"], parts["t10k-images-idx3"]
    labels = parts["train-labels-idx1"], parts["t10k-labels-idx1"]
    split = GivenSplit(len(images[0]), 0, len(images[1]))
    labels = np.concatenate(labels).astype(np.int32)
    return RawImages(np.concatenate(images), labels, num_levels=256, split=split)


def _load_binarized_mnist(data_dir: str | None) -> RawImages:
    packed = find("binarized_mnist", PACKED_BINARIZED_MNIST, data_dir)
    if packed is not None:
        arrays = formats.read_npz(packed)
        parts = [_unpack(_pick(arrays, (part,), packed), part, packed) for part in BINARIZED_MNIST]
    else:
        parts = [
            _find_or_download("binarized_mnist", file, _read_amat, data_dir)
            for file in BINARIZED_MNIST.values()
        ]
    images = np.concatenate(parts).reshape(-1, 28, 28)
    return RawImages(images, None, num_levels=2, split=GivenSplit(*(len(part) for part in parts)))


def _load_faces(file: faces.FaceFile, data_dir: str | None) -> RawImages:
    path = find(faces.FOLDER, file.name, data_dir)
    if path is None:
        folders = search_folders(data_dir)
        raise InputError(
            f"no {file.name} in {', '.join(map(str, folders))}: expected {file.content}; put that "
            f"file into {folders[0] / faces.FOLDER}"
        )
    return file.read(path)


NAMED: dict[str, Callable[[str | None], RawImages]] = {
    "digits": _load_digits,
    "mnist": _load_mnist,
    "binarized_mnist": _load_binarized_mnist,
    "freyfaces": partial(_load_faces, faces.FREYFACES),
    "olivetti": partial(_load_faces, faces.OLIVETTI),
}
"""name -> loader, given the data_dir."""


def _read_amat(path: Path, *, sha256: str) -> np.ndarray:
    return formats.read_binary_text(path, num_columns=784, sha256=sha256)


def _unpack(packed: np.ndarray, part: str, path: Path) -> np.ndarray:
    # The hash knows the bytes, but not their shape.
    if packed.dtype != np.uint8 or packed.shape[1:] != (_PACKED_WIDTH,):
        raise InputError(
            f"{path} [{part}]: {packed.dtype} of shape {packed.shape}, expected uint8 "
            f"(num, {_PACKED_WIDTH})"
        )
    formats.check_sha256(packed.tobytes(), _PACKED_SHA256[part], f"{path} [{part}]")
    return np.unpackbits(packed, axis=1)


def _find_or_download(
    data_set: str, file: RemoteFile, read: Callable, data_dir: str | None
) -> np.ndarray:
    path = find(data_set, file.name, data_dir)
    if path is None:
        path = _download(data_set, file, read, data_dir)
    return read(path, sha256=file.sha256)


def _download(data_set: str, file: RemoteFile, read: Callable, data_dir: str | None) -> Path:
    """Fetch into the cache from the first mirror that has the right content."""
    *_, cache = folders = search_folders(data_dir)
    target = cache / data_set / file.name
    target.parent.mkdir(parents=True, exist_ok=True)
    failures = []
    for url in file.urls:
        try:
            _fetch_checked(url, file, read, target)
            return target
        except (InputError, OSError, ValueError) as error:
            # requests' errors are OSErrors; their texts nest the cause and span lines.
            reason = str(error) if isinstance(error, InputError) else type(error).__name__
            failures.append(f"{url}: {reason}")
    raise InputError(
        f"{data_set}: no {file.name} in {', '.join(map(str, folders))} and no download "
        f"({'; '.join(failures)}); put that file into {folders[0] / data_set}"
    )


def _fetch_checked(url: str, file: RemoteFile, read: Callable, target: Path) -> None:
    import pooch

    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        partial = Path(folder) / file.name
        pooch.HTTPDownloader(timeout=30)(url, str(partial), None)
        read(partial, sha256=file.sha256)
        os.replace(partial, target)


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    if path.suffix == ".npz":
        return formats.read_npz(path)
    read = formats.read_npy if path.suffix == ".npy" else formats.read_idx
    return {"images": read(path)}


def _pick(arrays: dict, keys: tuple, path: Path, *, required: bool = True) -> np.ndarray | None:
    for key in keys:
        if key in arrays:
            return arrays[key]
    if required:
        raise InputError(
            f"{path}: has the keys {sorted(arrays)}, expected one of {', '.join(keys)}"
        )
    return None


def _to_levels(images: np.ndarray, path: Path) -> tuple[np.ndarray, int]:
    """Grey levels as uint8, or int32 where counts need it, and how many there are."""
    if images.size == 0:
        raise InputError(f"{path}: holds no images (shape {images.shape})")
    if images.dtype == np.bool_:
        return images.astype(np.uint8), 2
    if np.issubdtype(images.dtype, np.integer):
        least, most = int(images.min()), int(images.max())
        if least < 0 or most >= 2**31:
            raise InputError(f"{path}: levels from {least} to {most}, expected 0 to 2^31 - 1")
        if most < 256:
            return images.astype(np.uint8, copy=False), 256 if most > 1 else 2
        return images.astype(np.int32), most + 1
    if not np.issubdtype(images.dtype, np.floating):
        raise InputError(
            f"{path}: images of dtype {images.dtype}, expected whole numbers, or floats in [0, 1]"
        )
    if not np.all(np.isfinite(images)):
        row = np.argwhere(~np.isfinite(images))[0][0]
        raise InputError(f"{path}: image {row} holds NaN or infinite pixels, expected numbers")
    if images.min() < 0 or images.max() > 1:
        raise InputError(
            f"{path}: pixels from {images.min():g} to {images.max():g}, expected floats in [0, 1]"
        )
    return np.round(images * 255).astype(np.uint8), 256


def _to_images(images: np.ndarray, path: Path) -> np.ndarray:
    if images.ndim == 3:
        return images
    if images.ndim != 2:
        raise InputError(
            f"{path}: images of shape {images.shape}, expected [num, height, width] or [num, dim]"
        )
    side = round(images.shape[1] ** 0.5)
    height = side if side**2 == images.shape[1] else 1
    return images.reshape(len(images), height, -1)


def _to_labels(labels: np.ndarray | None, num: int, path: Path) -> np.ndarray | None:
    if labels is None:
        return None
    if labels.shape != (num,) or not np.issubdtype(labels.dtype, np.integer):
        raise InputError(
            f"{path}: labels are {labels.dtype} of shape {labels.shape}, expected integers ({num},)"
        )
    least, most = int(labels.min()), int(labels.max())
    if least < -(2**31) or most >= 2**31:
        raise InputError(f"{path}: labels from {least} to {most}, expected -2^31 to 2^31 - 1")
    return labels.astype(np.int32)
