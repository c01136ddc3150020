"""Flipped bits, cut, zeroed and deleted files: each is noticed, and the step before it is used."""

import shutil

import jax
import numpy as np
import pytest

from bayes_jax import InputError
from vae_jax import checkpoints

STEPS = (1, 2, 3)


def state_of(step):
    rng = np.random.default_rng(step)
    return {
        "params": {
            "kernel": rng.normal(size=(40, 30)).astype(np.float32),
            "bias": np.zeros(30, np.float32),
        },
        "count": np.int32(step),
    }


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    for step in STEPS:
        checkpoints.save(folder, step, state_of(step), about={str(key): key for key in range(300)})
    return folder


def flip(content, rng):
    content[rng.integers(len(content))] ^= 1 << rng.integers(8)
    return content


def cut(content, rng):
    return content[: rng.integers(len(content))]


def zero(content, rng):
    first = rng.integers(len(content))
    last = rng.integers(first, len(content)) + 1
    content[first:last] = bytes(last - first)
    return content


def delete(content, rng):
    return None


DAMAGES = (flip, cut, zero, delete)


def damage(folder, rng) -> str:
    """Some file of the newest step is another one afterwards, often the manifest; says how."""
    files = sorted(path for path in (folder / "3").rglob("*") if path.is_file())
    files += [folder / "3" / checkpoints.MANIFEST] * len(files)
    while True:
        path, how = files[rng.integers(len(files))], DAMAGES[rng.integers(len(DAMAGES))]
        before = path.read_bytes()
        after = how(bytearray(before), rng) if before or how is delete else before
        if after is None:
            path.unlink()
        elif after != before:
            path.write_bytes(after)
        else:  # zeros that were zeros, or nothing to damage
            continue
        return f"{path.relative_to(folder)}: {how.__name__}"


@pytest.mark.parametrize("count", [50, pytest.param(500, marks=pytest.mark.long)])
def test_all_damage_is_noticed_and_the_step_before_is_used(saved, tmp_path, count):
    rng, seen = np.random.default_rng(count), set()
    for trial in range(count):
        folder = tmp_path / str(trial)
        shutil.copytree(saved, folder)
        what = damage(folder, rng)
        seen.add(what)
        found = checkpoints.find(folder)
        assert (found.step, {*found.damaged}) == (2, {3}), what
        assert "\n" not in found.damaged[3]
        with pytest.raises(InputError, match=r"damaged|missing"):
            checkpoints.restore(folder, state_of(0), step=3)
        restored = checkpoints.restore(folder, state_of(0))
        jax.tree.map(np.testing.assert_array_equal, restored, state_of(2))
        shutil.rmtree(folder)
    assert {what.split(": ")[1] for what in seen} == {how.__name__ for how in DAMAGES}
