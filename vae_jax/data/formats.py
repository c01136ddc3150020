"""Files -> raw arrays, trusting nothing: IDX (MNIST), .npy / .npz and the 0/1 texts of Larochelle.

Every reader refuses what it cannot read whole with one `InputError` that names the file, never
unpickles, and never inflates more than the sizes declared in the file's own header, themselves at
most `MAX_BYTES`.
"""

import errno
import gzip
import hashlib
import io
import math
import zipfile
import zlib
from codecs import BOM_UTF8
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tokenize import TokenError  # of damaged .npy headers

import numpy as np

from bayes_jax.errors import InputError

MAX_BYTES = 2**32
"""No file, and no members of an archive together, may hold more than this many bytes (4 GiB)."""

_IDX_UBYTE = b"\x00\x00\x08"
_NPY_HEADERS = {
    (1, 0): (2, np.lib.format.read_array_header_1_0),
    (2, 0): (4, np.lib.format.read_array_header_2_0),
}
"""version -> bytes of the length that comes first, reader of length and header."""
_MAX_NPY_HEADER = 10_000
"""Bytes; the most that numpy takes for safe to parse."""
_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""Those that are inflated no further than asked for."""
_BLOCK = 2**20


def read_idx(path: Path, *, sha256: str | None = None) -> np.ndarray:
    """Read an IDX file of unsigned bytes, gzipped or not (http://yann.lecun.com/exdb/mnist).

    Args:
        path: the file.
        sha256: of the decompressed bytes, header included; None accepts any content.

    Returns:
        A uint8 array of the shape the header declares.

    Raises:
        InputError: empty or truncated file, wrong magic, sizes that do not match, other content.
    """
    with opened(path) as stream:
        magic = stream.read(4)
        if magic[:3] != _IDX_UBYTE or len(magic) < 4:
            raise InputError(
                f"{path}: starts with {magic.hex() or 'nothing'}, expected an IDX file of unsigned "
                f"bytes (000008..): is it the right file?"
            )
        sizes = stream.read(4 * magic[3])
        shape = tuple(int(size) for size in np.frombuffer(sizes[: len(sizes) // 4 * 4], ">u4"))
        content = _read_declared(stream, math.prod(shape), path)
        if len(shape) != magic[3] or stream.read(1):
            raise InputError(
                f"{path}: holds more or less than the sizes {shape} of its IDX header: fetch again"
            )
    check_sha256(magic + sizes + content, sha256, path)
    return np.frombuffer(content, np.uint8).reshape(shape)


def read_npy(path: Path) -> np.ndarray:
    """Read one array from an .npy file.

    Raises:
        InputError: empty or truncated file, not an .npy file, Python objects, sizes that do not
            match.
    """
    with opened(path) as stream:
        return _read_array(stream, path)


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """Read every array of an .npz file, by name.

    Raises:
        InputError: empty, truncated or corrupt file, Python objects, a member that is no array,
            another compression than deflate, members that are too large together.
    """
    arrays = {}
    with _archive(path) as archive:
        for name in archive.namelist():
            with archive.open(name) as member:
                arrays[name.removesuffix(".npy")] = _read_array(member, f"{path} [{name}]")
    return arrays


def read_members(path: Path, names: Sequence[str]) -> list[bytearray]:
    """Read members of a .zip file.

    Args:
        path: the file.
        names: of the members.

    Raises:
        InputError: empty, truncated or corrupt file, a member that is not there, another
            compression than deflate, members that are too large together.
    """
    with _archive(path) as archive:
        if missing := set(names).difference(archive.namelist()):
            raise InputError(f"{path}: lacks {', '.join(sorted(missing))}: is it the right file?")
        return [_read_member(archive, name) for name in names]


def read_binary_text(path: Path, *, num_columns: int, sha256: str | None = None) -> np.ndarray:
    """Read a text of 0 and 1 separated by white space, one observation a line (.amat).

    Returns:
        uint8 0/1 `[num, num_columns]`.

    Raises:
        InputError: empty file, other characters, lines of another length, other content, more
            than `MAX_BYTES`.
    """
    with opened(path) as stream:
        content = read_whole(stream, path)
        check_sha256(content, sha256, path)
        digits = np.frombuffer(content.translate(None, b" \t\r\n"), np.uint8) - ord("0")
    if digits.size == 0 or digits.max() > 1 or digits.size % num_columns:
        raise InputError(f"{path}: expected lines of {num_columns} digits 0 or 1")
    return digits.reshape(-1, num_columns)


def check_sha256(content: bytes | bytearray, sha256: str | None, path: Path | str) -> None:
    """Refuse content other than the known one.

    Raises:
        InputError: naming the file and both hashes.
    """
    found = hashlib.sha256(content).hexdigest()
    if sha256 is not None and found != sha256:
        raise InputError(
            f"{path}: decompressed content has sha256 {found[:12]}..., expected {sha256[:12]}...: "
            "damaged or another data set; replace it, or load one of your own by its path"
        )


@contextmanager
def opened(path: Path) -> Iterator[io.BufferedIOBase]:
    """The decompressed bytes of a file; what goes wrong while reading names the file.

    Args:
        path: a file; gzipped if its name ends in .gz.

    Raises:
        InputError: an empty file, an HTML page, damage or too little memory.
    """
    try:
        _check_start(path)
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
            yield stream
    except InputError:
        raise
    except (EOFError, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: truncated or damaged ({reason}): fetch it again") from error
    except OSError as error:
        # Damaged archives point to places before their start.
        if error.errno != errno.EINVAL:
            raise
        raise InputError(f"{path}: truncated or damaged ({error}): fetch it again") from error
    except MemoryError as error:
        raise InputError(f"{path}: takes more memory than there is") from error
    except (RuntimeError, NotImplementedError, ValueError, SyntaxError, TokenError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: cannot be read ({reason})") from error


def read_whole(stream: io.BufferedIOBase, name: Path | str) -> bytearray:
    """The bytes of a stream up to its end.

    Args:
        stream: of `opened`.
        name: of the file, in errors.

    Raises:
        InputError: more than `MAX_BYTES`.
    """
    content = _read_at_most(stream, MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise InputError(f"{name}: holds more than the {MAX_BYTES} bytes allowed")
    return content


def _check_start(path: Path) -> None:
    with path.open("rb") as file:
        start = file.read(512)
    if not start:
        raise InputError(f"{path}: the file is empty: fetch it again")
    if start.removeprefix(BOM_UTF8).lstrip().lower().startswith((b"<html", b"<!doctype")):
        raise InputError(f"{path}: an HTML page, not data (a failed download?): fetch it again")


@contextmanager
def _archive(path: Path) -> Iterator[zipfile.ZipFile]:
    with opened(path) as stream, zipfile.ZipFile(stream) as archive:
        _check_members(archive.infolist(), path)
        yield archive


def _check_members(members: list[zipfile.ZipInfo], path: Path) -> None:
    for member in members:
        if member.compress_type not in _COMPRESSIONS:
            raise InputError(
                f"{path} [{member.filename}]: compressed by method {member.compress_type} of zip, "
                f"expected {_COMPRESSIONS[0]} (stored) or {_COMPRESSIONS[1]} (deflate)"
            )
    _check_size(sum(member.file_size for member in members), MAX_BYTES, path)


def _read_member(archive: zipfile.ZipFile, name: str) -> bytearray:
    with archive.open(name) as member:
        return _read_at_most(member, MAX_BYTES)


def _check_size(num_bytes: int, most: int, name: Path | str) -> None:
    if num_bytes > most:
        raise InputError(f"{name}: declares {num_bytes} bytes, more than the {most} allowed")


def _read_at_most(stream, num_bytes: int) -> bytearray:
    """Takes memory for what is there, not for what is asked for."""
    content = bytearray()
    while block := stream.read(min(_BLOCK, num_bytes - len(content))):
        content += block
    return content


def _read_declared(stream, num_bytes: int, name: Path | str) -> bytearray:
    _check_size(num_bytes, MAX_BYTES, name)
    content = _read_at_most(stream, num_bytes)
    if len(content) < num_bytes:
        raise InputError(
            f"{name}: truncated, {len(content)} of {num_bytes} declared bytes: fetch it again"
        )
    return content


def _read_array(stream, name: Path | str) -> np.ndarray:
    shape, is_fortran, dtype = _read_npy_header(stream, name)
    if dtype.hasobject:
        raise InputError(f"{name}: holds Python objects, expected numbers: save a plain array")
    if min(shape, default=0) < 0:
        raise InputError(f"{name}: declares the shape {shape}, expected no negative sizes")
    content = _read_declared(stream, math.prod(shape) * dtype.itemsize, name)
    if stream.read(1):
        raise InputError(f"{name}: holds more than the {dtype} of shape {shape} that it declares")
    return np.frombuffer(content, dtype).reshape(shape, order="F" if is_fortran else "C")


def _read_npy_header(stream, name: Path | str) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = np.lib.format.read_magic(stream)
    if version not in _NPY_HEADERS:
        raise InputError(f"{name}: npy format {version}, expected 1.0 or 2.0: save plain arrays")
    width, parse = _NPY_HEADERS[version]
    length = stream.read(width)
    num_bytes = int.from_bytes(length, "little")
    _check_size(num_bytes, _MAX_NPY_HEADER, f"{name} [header]")
    return parse(io.BytesIO(length + _read_declared(stream, num_bytes, name)))
