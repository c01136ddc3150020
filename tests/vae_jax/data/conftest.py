"""What tests of files share: hand-made bytes, and what a refusal says."""

import struct

import numpy as np
import pytest

from bayes_jax.errors import InputError
from vae_jax.data import sources


def idx_bytes(array):
    header = struct.pack(">BBBB", 0, 0, 8, array.ndim)
    return header + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


IMAGES = np.arange(5 * 4 * 3, dtype=np.uint8).reshape(5, 4, 3)
IDX = idx_bytes(IMAGES)


@pytest.fixture
def no_folders(monkeypatch, tmp_path):
    """No test sees this machine's folders or reaches beyond it."""
    import pooch

    monkeypatch.delenv(sources.FOLDER_VARIABLE, raising=False)
    monkeypatch.setattr(pooch, "os_cache", lambda project: tmp_path / "cache" / project)
    monkeypatch.setenv("NO_PROXY", "*")


def refused(function, *args, **options):
    """The message of the InputError, which must be one line."""
    with pytest.raises(InputError) as caught:
        function(*args, **options)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)
