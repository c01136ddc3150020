"""Named data sets: where they are looked for, fetched from, and what they must be."""

import functools
import gzip
import hashlib
import http.server
import threading

import numpy as np
import pytest

from vae_jax.data import formats, sources

from .conftest import IDX, IMAGES, refused

pytestmark = pytest.mark.usefixtures("no_folders")


@pytest.fixture
def server(tmp_path):
    """A mirror on this machine: (folder it serves, its address)."""
    folder = tmp_path / "mirror"
    folder.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield folder, f"http://127.0.0.1:{running.server_port}/"
        running.shutdown()
        thread.join()


def test_unknown_data_sets_and_folders_are_named(tmp_path, monkeypatch):
    assert "digits, mnist, binarized_mnist" in refused(sources.load_raw, "mnits")
    assert "no such file" in refused(sources.load_raw, str(tmp_path / "none.npz"))
    assert "data_dir" in refused(sources.load_raw, "mnist", str(tmp_path / "none"))
    monkeypatch.setenv(sources.FOLDER_VARIABLE, str(tmp_path / "none"))
    assert sources.FOLDER_VARIABLE in refused(sources.load_raw, "mnist")


def test_folders_are_searched_in_order(tmp_path, monkeypatch):
    given, variable = tmp_path / "given", tmp_path / "variable"
    for folder in (given / "mnist", variable):
        folder.mkdir(parents=True)
        (folder / "a.gz").touch()
    monkeypatch.setenv(sources.FOLDER_VARIABLE, str(variable))
    assert sources.find("mnist", "a.gz", str(given)) == given / "mnist" / "a.gz"
    assert sources.find("mnist", "a.gz") == variable / "a.gz"
    assert sources.find("mnist", "b.gz") is None


def remote(*urls, content=IDX):
    name = "images-ubyte.gz"
    digest = hashlib.sha256(content).hexdigest()
    return sources.RemoteFile(name, digest, tuple(url + name for url in urls))


def fetch(file):
    return sources._find_or_download("own", file, formats.read_idx, None)


def test_the_second_mirror_serves_where_the_first_has_a_page(tmp_path, server):
    folder, address = server
    for name, content in {"first": b"<html></html>", "second": gzip.compress(IDX)}.items():
        (folder / name).mkdir()
        (folder / name / "images-ubyte.gz").write_bytes(content)
    file = remote(address + "first/", address + "second/")
    np.testing.assert_array_equal(fetch(file), IMAGES)
    assert [path.name for path in (tmp_path / "cache/vae_jax/own").iterdir()] == [file.name]
    (folder / "second" / "images-ubyte.gz").unlink()
    np.testing.assert_array_equal(fetch(file), IMAGES)


@pytest.mark.parametrize(
    ("served", "reason"),
    [
        (b"<!doctype html><html></html>", "HTML page"),
        (gzip.compress(IDX)[:-9], "truncated"),
        (gzip.compress(IDX[:-1] + b"\x00"), "sha256"),
        (b"", "empty"),
        (None, "HTTPError"),
    ],
    ids=["a page", "truncated", "other content", "empty", "not found"],
)
def test_a_bad_download_leaves_nothing_behind(tmp_path, server, served, reason):
    folder, address = server
    if served is not None:
        (folder / "images-ubyte.gz").write_bytes(served)
    message = refused(fetch, remote(address))
    assert reason in message
    assert f"put that file into {tmp_path / 'cache/vae_jax/own'}" in message
    assert list((tmp_path / "cache/vae_jax/own").iterdir()) == []


def test_offline_says_which_file_to_put_where(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "MNIST", {"train-images-idx3": remote("http://127.0.0.1:9/")})
    folder = tmp_path / "mine"
    folder.mkdir()
    message = refused(sources.load_raw, "mnist", str(folder))
    assert f"put that file into {folder / 'mnist'}" in message
    assert "images-ubyte.gz" in message


def test_digits_are_scikit_learns():
    from sklearn.datasets import load_digits

    raw = sources.load_raw("digits")
    np.testing.assert_array_equal(raw.images, load_digits().images)
    np.testing.assert_array_equal(raw.labels, load_digits().target)
    assert raw.num_levels == 17


def test_mnist_is_mnist(data_dir):
    raw = sources.load_raw("mnist", str(data_dir))
    assert raw.images.shape == (70_000, 28, 28)
    assert raw.split == (60_000, 0, 10_000)
    # Published counts and mean level of the training images, and the first ten labels.
    np.testing.assert_array_equal(raw.labels[:10], [5, 0, 4, 1, 9, 2, 1, 3, 1, 4])
    assert raw.images[:60_000].mean() == pytest.approx(0.1306604762738429 * 255)
    assert np.bincount(raw.labels[60_000:]).tolist() == [
        980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009,
    ]  # fmt: skip


def test_binarized_mnist_is_the_same_packed_and_as_text(data_dir, tmp_path):
    raw = sources.load_raw("binarized_mnist", str(data_dir))
    assert raw.images.shape == (70_000, 28, 28)
    assert raw.split == (50_000, 10_000, 10_000)
    rows = raw.images[60_000:].reshape(-1, 784)
    text = np.full((len(rows), 2 * 784), ord(" "), np.uint8)
    text[:, ::2] = rows + ord("0")
    text[:, -1] = ord("\n")
    path = tmp_path / "binarized_mnist_test.amat"
    path.write_bytes(text.tobytes())
    read = sources._read_amat(path, sha256=sources.BINARIZED_MNIST["test"].sha256)
    np.testing.assert_array_equal(read, rows)


@pytest.mark.parametrize(
    "reshaped",
    [
        np.ravel,
        lambda packed: packed.reshape(-1, 2 * 98),
        lambda packed: packed.reshape(-1, 98, 1),
        lambda packed: packed.view(np.int8),
        lambda packed: packed[0, 0],
    ],
    ids=["flat", "wide", "deep", "signed", "scalar"],
)
def test_packed_images_of_another_shape_are_refused(tmp_path, monkeypatch, reshaped):
    """With the very bytes that are known."""
    packed = np.zeros((4, 98), np.uint8)
    known = dict.fromkeys(sources.BINARIZED_MNIST, hashlib.sha256(packed.tobytes()).hexdigest())
    monkeypatch.setattr(sources, "_PACKED_SHA256", known)
    path = tmp_path / sources.PACKED_BINARIZED_MNIST
    np.savez_compressed(path, **dict.fromkeys(known, packed))
    assert sources.load_raw("binarized_mnist", str(tmp_path)).images.shape == (12, 28, 28)
    np.savez_compressed(path, **dict.fromkeys(known, reshaped(packed)))
    message = refused(sources.load_raw, "binarized_mnist", str(tmp_path))
    assert message.startswith(f"{path} [train]")
    assert "expected uint8 (num, 98)" in message
