"""Hand-made files read back, and every kind of bad file refused in one line."""

import functools
import gzip
import hashlib
import io
import re
import zipfile

import numpy as np
import pytest

from bayes_jax.errors import InputError
from vae_jax.data import formats, sources

from .conftest import IDX, IMAGES, refused

pytestmark = pytest.mark.usefixtures("no_folders")


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_idx_is_read_back(tmp_path, suffix):
    path = tmp_path / f"images-ubyte{suffix}"
    path.write_bytes(gzip.compress(IDX) if suffix else IDX)
    np.testing.assert_array_equal(formats.read_idx(path), IMAGES)
    np.testing.assert_array_equal(sources.load_raw(str(path)).images, IMAGES)


BAD_IDX = {
    "empty": (b"", "empty"),
    "wrong magic": (b"\x00\x00\x0d\x03" + IDX[4:], "00000d03"),
    "only a magic": (IDX[:4], "truncated|more or less"),
    "half a header": (IDX[:9], "truncated|more or less"),
    "too few pixels": (IDX[:-1], "truncated, 59 of 60"),
    "too many pixels": (IDX + b"\x00", r"more or less than the sizes \(5, 4, 3\)"),
    "a page": (b"\n<!DOCTYPE html><html>not found</html>", "HTML page"),
    "gigantic": (IDX[:4] + b"\xff" * 12, "declares .* allowed"),
}


ABOUT_THE_FILE = ("empty", "a page")  # and not about what is compressed in it


@pytest.mark.parametrize(
    ("case", "compressed"),
    [(case, False) for case in BAD_IDX]
    + [(case, True) for case in BAD_IDX if case not in ABOUT_THE_FILE],
)
def test_bad_idx_is_refused(tmp_path, case, compressed):
    content, expected = BAD_IDX[case]
    path = tmp_path / ("a-ubyte.gz" if compressed else "a-ubyte")
    path.write_bytes(gzip.compress(content) if compressed else content)
    message = refused(formats.read_idx, path)
    assert message.startswith(str(path))
    assert re.search(expected, message)


@pytest.mark.parametrize("start", ["<html>", "<HTML lang='en'>", "\n <!DOCTYPE html>"])
@pytest.mark.parametrize("name", ["a-ubyte.gz", "a.npy", "a.npz"])
def test_a_page_is_called_a_page(tmp_path, name, start):
    path = tmp_path / name
    path.write_text(start + "<body>404</body>")
    assert "HTML page" in refused(sources.load_raw, str(path))


@pytest.mark.parametrize(
    "content",
    [gzip.compress(IDX)[:-12], gzip.compress(IDX)[:20], b"\x1f\x8b" + bytes(40), IDX, b"<html>"],
    ids=["no end", "no middle", "no deflate", "not compressed", "a page"],
)
def test_damaged_gzip_is_refused(tmp_path, content):
    path = tmp_path / "images-ubyte.gz"
    path.write_bytes(content)
    assert str(path) in refused(formats.read_idx, path)


def test_nothing_is_inflated_beyond_the_declared_sizes(tmp_path, monkeypatch):
    path = tmp_path / "bomb-ubyte.gz"
    path.write_bytes(gzip.compress(IDX + bytes(50_000_000)))
    inflated = []
    read = gzip.GzipFile.read

    def counted(self, size=-1):
        content = read(self, size)
        inflated.append(len(content))
        return content

    monkeypatch.setattr(gzip.GzipFile, "read", counted)
    assert "more or less" in refused(formats.read_idx, path)
    assert sum(inflated) <= len(IDX) + 1


def test_other_content_than_the_known_is_refused(tmp_path):
    path = tmp_path / "images-ubyte"
    path.write_bytes(IDX)
    known = hashlib.sha256(IDX).hexdigest()
    formats.read_idx(path, sha256=known)
    path.write_bytes(IDX[:-1] + b"\x00")
    assert "sha256" in refused(formats.read_idx, path, sha256=known)


@pytest.mark.parametrize("key", ["images", "x", "X"])
def test_npz_of_bytes(tmp_path, key):
    path = tmp_path / "own.npz"
    np.savez_compressed(path, **{key: np.asfortranarray(IMAGES), "y": np.arange(5)})
    raw = sources.load_raw(str(path))
    np.testing.assert_array_equal(raw.images, IMAGES)
    np.testing.assert_array_equal(raw.labels, np.arange(5))
    assert raw.num_levels == 256
    assert raw.split is None


def test_floats_become_256_levels_and_booleans_two(tmp_path):
    levels = np.arange(256, dtype=np.uint8).reshape(4, 8, 8)
    np.save(tmp_path / "grey.npy", levels.astype(">f4") / np.float32(255))
    np.save(tmp_path / "mask.npy", IMAGES > 7)
    np.save(tmp_path / "bits.npy", (IMAGES > 7).astype(np.uint8))
    grey, mask, bits = (
        sources.load_raw(str(tmp_path / name)) for name in ("grey.npy", "mask.npy", "bits.npy")
    )
    np.testing.assert_array_equal(grey.images, levels)
    np.testing.assert_array_equal(mask.images, IMAGES > 7)
    assert (grey.num_levels, mask.num_levels, bits.num_levels) == (256, 2, 2)


def test_counts_keep_their_size(tmp_path):
    counts = np.arange(12).reshape(3, 4) * 100
    np.save(tmp_path / "counts.npy", counts)
    np.save(tmp_path / "small.npy", counts // 100)
    large, small = (sources.load_raw(str(tmp_path / f"{name}.npy")) for name in ("counts", "small"))
    np.testing.assert_array_equal(large.images.reshape(3, 4), counts)
    assert large.num_levels == 1101
    assert (small.images.dtype, small.num_levels) == (np.uint8, 256)


@pytest.mark.parametrize(("dim", "shape"), [(16, (4, 4)), (12, (1, 12))])
def test_rows_are_square_images_where_they_can_be(tmp_path, dim, shape):
    np.save(tmp_path / "rows.npy", np.zeros((3, dim), np.uint8))
    assert sources.load_raw(str(tmp_path / "rows.npy")).images.shape == (3, *shape)


NAN = np.full((2, 3, 3), 0.5)
NAN[1, 0, 0] = np.nan
BAD_ARRAYS = {
    "NaN": ({"images": NAN}, "image 1 holds NaN"),
    "out of range": ({"images": np.full((2, 3, 3), 7.0)}, "from 7 to 7"),
    "dtype": ({"images": np.zeros((2, 3, 3), np.complex64)}, "complex64"),
    "negative": ({"images": np.full((2, 3, 3), -1)}, "from -1 to -1"),
    "too many": ({"images": np.full((2, 3, 3), 2**31)}, "to 2147483648"),
    "text": ({"images": np.array([["a", "b"]])}, "<U1"),
    "rank": ({"images": np.zeros((2, 3, 3, 3), np.uint8)}, r"\(2, 3, 3, 3\)"),
    "scalar": ({"images": np.uint8(3)}, r"\(\)"),
    "no rows": ({"images": np.zeros((0, 3, 3), np.uint8)}, "no images"),
    "objects": ({"images": np.array([{}, {}])}, "Python objects"),
    "keys": ({"pictures": IMAGES}, "pictures"),
    "labels": ({"images": IMAGES, "y": np.arange(4)}, "labels"),
    "long labels": ({"images": IMAGES, "y": np.arange(5) << 30}, "labels from 0 to 4294967296"),
    "unsigned labels": ({"images": IMAGES, "y": np.full(5, 2**64 - 1, np.uint64)}, "labels from"),
    "low labels": ({"images": IMAGES, "y": -(np.arange(5) << 30)}, "labels from -4294967296 to 0"),
    "float labels": ({"images": IMAGES, "labels": np.zeros(5)}, "labels"),
}


@pytest.mark.parametrize("case", BAD_ARRAYS)
def test_bad_arrays_are_refused(tmp_path, case):
    arrays, expected = BAD_ARRAYS[case]
    path = tmp_path / "own.npz"
    np.savez(path, **arrays)
    with pytest.raises(InputError, match=expected) as caught:
        sources.load_raw(str(path))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def npy_bytes(array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def npy_declaring(shape, num_bytes=10):
    buffer = io.BytesIO()
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(buffer, header)
    return buffer.getvalue() + bytes(num_bytes)


def zipped(compression=zipfile.ZIP_DEFLATED, **members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return buffer.getvalue()


BAD_NPY = {
    "empty": b"",
    "a page": b"<html></html>",
    "truncated": npy_bytes(IMAGES)[:-3],
    "half a header": npy_bytes(IMAGES)[:30],
    "no npy": b"PK\x03\x04" + bytes(99),
    "version 3": b"\x93NUMPY\x03\x00" + npy_bytes(IMAGES)[8:],
    "gigantic": npy_declaring((2**50, 2, 2)),
}


@pytest.mark.parametrize("case", BAD_NPY)
def test_damaged_npy_is_refused(tmp_path, case):
    path = tmp_path / "own.npy"
    path.write_bytes(BAD_NPY[case])
    assert str(path) in refused(sources.load_raw, str(path))


MISDECLARED = {
    "a negative size": ((-1, 2), 8, r"the shape \(-1, 2\), expected no negative"),
    "two negative sizes": ((-1, -8), 8, r"the shape \(-1, -8\), expected no negative"),
    "less than there is": ((3, 2), 8, r"more than the uint8 of shape \(3, 2\)"),
    "nothing": ((0, 2), 8, r"more than the uint8 of shape \(0, 2\)"),
    "more than there is": ((5, 2), 8, "truncated, 8 of 10"),
}


@pytest.mark.parametrize("case", MISDECLARED)
@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_other_sizes_than_the_header_declares_are_refused(tmp_path, case, suffix):
    shape, num_bytes, expected = MISDECLARED[case]
    content = npy_declaring(shape, num_bytes)
    path = tmp_path / f"own{suffix}"
    path.write_bytes(content if suffix == ".npy" else zipped(images=content))
    assert re.search(expected, refused(sources.load_raw, str(path)))


def test_a_long_header_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "own.npy"
    path.write_bytes(b"\x93NUMPY\x02\x00" + (2**31).to_bytes(4, "little") + b"{}")
    assert "declares 2147483648 bytes, more than the 10000" in refused(formats.read_npy, path)


def test_members_share_the_cap(tmp_path, monkeypatch):
    path = tmp_path / "own.npz"
    path.write_bytes(zipped(images=npy_bytes(IMAGES), labels=npy_bytes(np.arange(5))))
    with zipfile.ZipFile(path) as archive:
        num_bytes = sum(member.file_size for member in archive.infolist())
    monkeypatch.setattr(formats, "MAX_BYTES", num_bytes)
    assert formats.read_npz(path).keys() == {"images", "labels"}
    monkeypatch.setattr(formats, "MAX_BYTES", num_bytes - 1)
    assert f"declares {num_bytes} bytes, more than the" in refused(formats.read_npz, path)


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compressions_are_refused(tmp_path, compression):
    path = tmp_path / "own.npz"
    path.write_bytes(zipped(compression, images=npy_bytes(IMAGES)))
    message = refused(formats.read_npz, path)
    assert f"[images.npy]: compressed by method {compression} of zip, expected 0" in message


@pytest.mark.parametrize("field", [12, 16], ids=["size", "offset"])
def test_an_archive_that_points_before_its_start_is_refused(tmp_path, field):
    """In the size or the offset of its directory."""
    content = bytearray(zipped(images=npy_bytes(IMAGES)))
    content[content.index(b"PK\x05\x06") + field + 2] ^= 1
    path = tmp_path / "own.npz"
    path.write_bytes(content)
    assert refused(formats.read_npz, path).startswith(f"{path}: truncated or damaged")


@pytest.mark.parametrize("case", ["truncated", "bit flip", "no zip", "not an array"])
def test_damaged_npz_is_refused(tmp_path, case):
    path = tmp_path / "own.npz"
    np.savez(path, images=IMAGES)
    content = bytearray(path.read_bytes())
    content[content.index(IMAGES.tobytes()) + 7] ^= 1
    damaged = {
        "truncated": path.read_bytes()[:-40],
        "bit flip": bytes(content),
        "no zip": b"hello",
    }
    if case == "not an array":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("images.npy", b"hello")
    else:
        path.write_bytes(damaged[case])
    assert str(path) in refused(sources.load_raw, str(path))


@pytest.mark.parametrize("content", [b"0 1 2 1\n", b"0 1 0\n", b" \n", b"0 a\n"])
def test_bad_binary_text_is_refused(tmp_path, content):
    path = tmp_path / "bits.amat"
    path.write_bytes(content)
    assert str(path) in refused(formats.read_binary_text, path, num_columns=2)


def test_a_longer_text_than_allowed_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "bits.amat"
    path.write_bytes(b"0 1\n1 1\n")
    monkeypatch.setattr(formats, "MAX_BYTES", 8)
    np.testing.assert_array_equal(formats.read_binary_text(path, num_columns=2), [[0, 1], [1, 1]])
    monkeypatch.setattr(formats, "MAX_BYTES", 4)
    message = refused(formats.read_binary_text, path, num_columns=2)
    assert message == f"{path}: holds more than the 4 bytes allowed"


@pytest.mark.parametrize(
    ("name", "reader"),
    [
        ("a.amat.gz", functools.partial(formats.read_binary_text, num_columns=2)),
        ("a-ubyte.gz", formats.read_idx),
    ],
)
def test_too_little_memory_is_one_line(tmp_path, monkeypatch, name, reader):
    def full(self, size=-1):
        raise MemoryError

    path = tmp_path / name
    path.write_bytes(gzip.compress(IDX))
    monkeypatch.setattr(gzip.GzipFile, "read", full)
    assert refused(reader, path) == f"{path}: takes more memory than there is"
