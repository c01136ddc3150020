"""Files that were cut, flipped, zeroed or forged: a clear line or right data, in little memory."""

import functools
import gzip
import io
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest

from bayes_jax import InputError
from vae_jax.data.formats import read_binary_text
from vae_jax.data.sources import read_images
from vae_jax.data.text.sources import read_lines, read_sentences
from vae_jax.detection import rows

MOST_MEMORY = 32 * 2**20
"""Bytes that reading a file of a few kilobytes may take, whatever it claims to hold."""

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (30, 8, 8)).astype(np.uint8)
TABLE = np.round(RNG.normal(size=(30, 3)), 3)


def idx():
    return struct.pack(">4B3I", 0, 0, 8, 3, *IMAGES.shape) + IMAGES.tobytes()


def npy():
    stream = io.BytesIO()
    np.save(stream, IMAGES)
    return stream.getvalue()


def npz(**arrays):
    stream = io.BytesIO()
    np.savez_compressed(stream, **(arrays or {"images": IMAGES}))
    return stream.getvalue()


def csv():
    stream = io.BytesIO()
    np.savetxt(stream, TABLE, delimiter=",", header="a,b,c", comments="")
    return stream.getvalue()


def amat():
    stream = io.BytesIO()
    np.savetxt(stream, IMAGES.reshape(30, -1) % 2, fmt="%d")
    return stream.getvalue()


LINES = "déjà vu\nall over again\n".encode() * 20


def reviews(num_hidden=0):
    """Two texts, and at the end of the second so many bytes that its size does not tell."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("sentence_polarity/rt-polarity.neg", LINES)
        archive.writestr("sentence_polarity/rt-polarity.pos", LINES + bytes(num_hidden))
        archive.infolist()[-1].file_size -= num_hidden
    return stream.getvalue()


def read_reviews(path):
    return read_sentences("sentence_polarity", str(path.parent))


FILES = {
    "images-ubyte": (idx(), read_images),
    "images-ubyte.gz": (gzip.compress(idx()), read_images),
    "images.npy": (npy(), read_images),
    "images.npz": (npz(), read_images),
    "table.npz": (npz(X=TABLE), rows.read),
    "table.csv": (csv(), rows.read),
    "bits.amat": (amat(), functools.partial(read_binary_text, num_columns=64)),
    "lines.txt": (LINES, read_lines),
    "sentence_polarity.zip": (reviews(), read_reviews),
}


def flipped(content, rng):
    content[rng.integers(len(content))] ^= 1 << rng.integers(8)


def cut(content, rng):
    del content[rng.integers(len(content)) :]


def zeroed(content, rng):
    start = rng.integers(len(content))
    stop = min(len(content), start + rng.integers(1, 64))
    content[start:stop] = bytes(stop - start)


def doubled(content, rng):
    start = rng.integers(len(content))
    content[start:start] = content[start : start + rng.integers(1, 64)]


def page(content, rng):
    del rng
    content[:] = b"<!DOCTYPE html><html><body>404: not found</body></html>"


def emptied(content, rng):
    del rng
    content.clear()


MUTATIONS = (flipped, cut, zeroed, doubled, page, emptied)


def read(path, reader):
    """What was read, or the one line that says why not; and the most memory that it took."""
    tracemalloc.start()
    found, line = None, ""
    try:
        found = reader(path)
    except InputError as error:
        line = str(error)
    memory = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "\n" not in line
    assert found is not None or str(path) in line
    return found, memory


@pytest.mark.parametrize("num", [30, pytest.param(300, marks=pytest.mark.long)])
@pytest.mark.parametrize("name", FILES)
def test_mutated_files_are_refused_or_right(tmp_path, name, num):
    content, reader = FILES[name]
    path, rng = tmp_path / name, np.random.default_rng(num)
    path.write_bytes(content)
    intact, _ = read(path, reader)
    assert intact is not None
    for index in range(num):
        mutated = bytearray(content)
        MUTATIONS[index % len(MUTATIONS)](mutated, rng)
        path.write_bytes(mutated)
        found, memory = read(path, reader)
        assert memory < MOST_MEMORY
        assert found is None or type(found) is type(intact)


CHECKSUMMED = "images.npz", "images-ubyte.gz", "table.npz", "sentence_polarity.zip"


@pytest.mark.parametrize("name", CHECKSUMMED)
def test_every_flipped_bit_of_a_checksummed_file_is_noticed_or_harmless(tmp_path, name):
    """Archives have checksums of their content: what is read is what was written."""
    content, reader = FILES[name]
    path, rng = tmp_path / name, np.random.default_rng(1)
    path.write_bytes(content)
    intact, _ = read(path, reader)
    num_refused = 0
    for _ in range(40):
        mutated = bytearray(content)
        flipped(mutated, rng)
        path.write_bytes(mutated)
        found, _ = read(path, reader)
        num_refused += found is None
        if found is not None:
            for before, after in zip(intact, found, strict=True):
                np.testing.assert_array_equal(before, after)
    assert num_refused > 20


def bomb_npz():
    """A few kilobytes that inflate to a gigabyte, behind the header of a small array."""
    stream = io.BytesIO()
    header = npy()[:128]
    with (
        zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("images.npy", "w") as member,
    ):
        member.write(header)
        for _ in range(1024):
            member.write(bytes(2**20))
    return stream.getvalue()


def forged_npy(num=2**40):
    """A header that claims 64 bytes times so many: 64 terabytes."""
    stream = io.BytesIO()
    header = {"descr": "|u1", "fortran_order": False, "shape": (num, 8, 8)}
    np.lib.format.write_array_header_1_0(stream, header)
    return stream.getvalue()


def forged_idx():
    return struct.pack(">4B3I", 0, 0, 8, 3, 2**31, 2**31, 2**31) + bytes(100)


def allowed_npy():
    """A header that claims no more than the 4 GiB that are allowed."""
    return forged_npy(2**26)


def allowed_idx():
    return struct.pack(">4B3I", 0, 0, 8, 3, 2**26, 8, 8) + bytes(100)


def bomb_gz():
    return gzip.compress(idx() + bytes(64 * 2**20))


def bomb_zip():
    return reviews(num_hidden=64 * 2**20)


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("images.npz", bomb_npz),
        ("images.npy", forged_npy),
        ("images-ubyte", forged_idx),
        ("images.npy", allowed_npy),
        ("images-ubyte", allowed_idx),
        ("images-ubyte.gz", bomb_gz),
        ("sentence_polarity.zip", bomb_zip),
    ],
)
def test_bombs_and_forged_sizes_take_no_memory(tmp_path, name, make):
    path = tmp_path / name
    path.write_bytes(make())
    _, memory = read(path, FILES[name][1])
    assert memory < MOST_MEMORY


@pytest.mark.parametrize(
    ("name", "make"), [("images.npy", forged_npy), ("images-ubyte", forged_idx)]
)
def test_forged_sizes_are_refused(tmp_path, name, make):
    path = tmp_path / name
    path.write_bytes(make())
    with pytest.raises(InputError, match=r"more than the .* allowed"):
        read_images(path)


def test_pickles_are_never_loaded(tmp_path):
    np.savez(tmp_path / "images.npz", images=np.array([{"a": 1}], dtype=object))
    with pytest.raises(InputError, match="Python objects"):
        read_images(tmp_path / "images.npz")
