"""Checkpoints come back bit by bit, or not at all."""

import errno
import json
import os
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bayes_jax.errors import InputError
from vae_jax import checkpoints, records


class State(NamedTuple):
    params: dict
    count: jax.Array


def make_state(width=3):
    key = jax.random.key(0)
    return State(
        {
            "kernel": jax.random.normal(key, (4, width)),
            "half": jax.random.normal(key, (5,), jnp.bfloat16),
            "odd": jnp.array([jnp.inf, -0.0, 1e-45]),
        },
        jnp.int32(7),
    )


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "checkpoints"
    checkpoints.save(folder, 12, make_state())
    return folder


def copy_of(saved, tmp_path):
    import shutil

    return shutil.copytree(saved, tmp_path / "copy")


def bits(tree):
    return [(leaf.dtype, leaf.shape, np.asarray(leaf).tobytes()) for leaf in jax.tree.leaves(tree)]


def largest_file(folder):
    files = [path for path in (folder / "12" / "state").rglob("*") if path.is_file()]
    return max(files, key=lambda path: path.stat().st_size)


@pytest.mark.parametrize("abstract", [make_state(), jax.eval_shape(make_state)])
def test_round_trip_is_bit_exact(saved, abstract):
    restored = checkpoints.restore(saved, abstract)
    assert isinstance(restored, State)
    assert bits(restored) == bits(make_state())


@pytest.mark.parametrize("dtype", ["float64", "int64"])
def test_numbers_that_jax_would_shorten_are_refused(tmp_path, dtype):
    state = {"kept": np.float32(1), "long": np.full(2, 2**24 + 1, dtype)}
    with pytest.raises(InputError, match=rf"state's \['long'\] is {dtype} and would be saved as "):
        checkpoints.save(tmp_path, 1, state)
    assert checkpoints.steps(tmp_path) == []


def test_restored_leaves_belong_to_the_caller(saved):
    restored = checkpoints.restore(saved, make_state(), step=12)
    donate = jax.jit(lambda state: jax.tree.map(lambda leaf: leaf + 1, state), donate_argnums=0)
    assert donate(restored).count == 8


@pytest.mark.parametrize("position", [0.1, 0.5, 0.9])
def test_flipped_bit_is_noticed_in_every_file(saved, tmp_path, position):
    folder = copy_of(saved, tmp_path)
    files = [path for path in (folder / "12").rglob("*") if path.is_file() and path.stat().st_size]
    assert len(files) >= 3
    for path in files:
        intact = path.read_bytes()
        damaged = bytearray(intact)
        damaged[int(position * len(damaged))] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=str(folder / "12")) as error:
            checkpoints.restore(folder, make_state())
        assert "\n" not in str(error.value)
        path.write_bytes(intact)
    assert bits(checkpoints.restore(folder, make_state())) == bits(make_state())


def test_truncated_file_is_named(saved, tmp_path):
    path = largest_file(copy_of(saved, tmp_path))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match=f"{path} is damaged"):
        checkpoints.restore(tmp_path / "copy", make_state())


def test_deleted_file_is_named(saved, tmp_path):
    path = largest_file(copy_of(saved, tmp_path))
    path.unlink()
    with pytest.raises(InputError, match=f"{path} is missing"):
        checkpoints.restore(tmp_path / "copy", make_state())


def test_other_shape_names_the_leaf(saved):
    with pytest.raises(InputError, match=r"float32\[4, 3\].*kernel.*expected float32\[4, 5\]"):
        checkpoints.restore(saved, make_state(width=5))


def test_other_structure_names_the_leaf(saved):
    with pytest.raises(InputError, match=r"half.*expected nothing"):
        checkpoints.restore(saved, State({"kernel": jnp.zeros((4, 3))}, jnp.int32(0)))


def test_latest_step_is_read_from_the_disk(tmp_path):
    assert checkpoints.latest_step(tmp_path / "absent") is None
    for step in (2, 9, 10):
        checkpoints.save(tmp_path, step, {"step": jnp.int32(step)}, keep=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["10", "9"]
    assert checkpoints.latest_step(tmp_path) == 10
    (tmp_path / "10").rename(tmp_path / "11")
    assert checkpoints.latest_step(tmp_path) == 11
    assert checkpoints.restore(tmp_path, {"step": jnp.int32(0)}, step=9)["step"] == 9


def test_a_step_deletes_what_came_after_it(tmp_path):
    for step in (1, 3, 5, 2):
        checkpoints.save(tmp_path, step, {"step": jnp.int32(step)}, keep=3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "2"]


def make_steps(folder, *steps):
    for step in steps:
        checkpoints.save(folder, step, {"step": jnp.int32(step)})


def test_damage_falls_back_to_the_newest_intact_step(tmp_path):
    make_steps(tmp_path, 1, 2, 3)
    (tmp_path / "3" / checkpoints.MANIFEST).unlink()
    (tmp_path / "2" / checkpoints.MANIFEST).write_bytes(b"")
    found = checkpoints.find(tmp_path)
    assert found.step == 1
    assert {*found.damaged} == {2, 3}
    assert all("missing or damaged" in fault for fault in found.damaged.values())
    assert checkpoints.restore(tmp_path, {"step": jnp.int32(0)})["step"] == 1
    (tmp_path / "1" / checkpoints.MANIFEST).unlink()
    assert checkpoints.find(tmp_path).step is None
    with pytest.raises(InputError, match=f"{tmp_path / '3'}.*missing or damaged: an older step"):
        checkpoints.restore(tmp_path, {"step": jnp.int32(0)})


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES])
def test_a_file_that_cannot_be_read_is_damage(tmp_path, monkeypatch, number):
    make_steps(tmp_path, 1, 2)
    digest = checkpoints._digest

    def refuse_newest(path):
        if tmp_path / "2" in path.parents:
            raise OSError(number, os.strerror(number), str(path))
        return digest(path)

    monkeypatch.setattr(checkpoints, "_digest", refuse_newest)
    found = checkpoints.find(tmp_path)
    assert found.step == 1
    assert f"cannot be read ({os.strerror(number)}): an older step" in found.damaged[2]


@pytest.mark.parametrize("manifest", ["[]", "[1]", "3", "null", '"sha256"', "{}"])
def test_a_manifest_of_another_kind_is_damage(tmp_path, manifest):
    make_steps(tmp_path, 1, 2)
    (tmp_path / "2" / checkpoints.MANIFEST).write_text(manifest)
    found = checkpoints.find(tmp_path)
    assert (found.step, {*found.damaged}) == (1, {2})
    assert "missing or damaged" in found.damaged[2]


@pytest.mark.parametrize("outside", ["../../precious", "{folder}/precious"])
def test_a_manifest_that_leaves_its_folder_is_damage(tmp_path, outside):
    (tmp_path / "precious").write_text("x")
    make_steps(tmp_path / "checkpoints", 1, 2)
    newest = tmp_path / "checkpoints" / "2"
    name = outside.format(folder=tmp_path)
    manifest = json.loads((newest / checkpoints.MANIFEST).read_text())
    del manifest["sha256"]
    manifest["files"][name] = checkpoints._digest(tmp_path / "precious")
    signed = manifest | {"sha256": checkpoints._signature(manifest)}
    (newest / checkpoints.MANIFEST).write_text(json.dumps(signed))
    found = checkpoints.find(tmp_path / "checkpoints")
    assert found.step == 1
    assert f"it names {name!r}, outside of it" in found.damaged[2]


def test_the_manifest_says_what_the_state_belongs_to_and_guards_itself(tmp_path):
    about = {"config": "0123abcd", "versions": {"jax": "1"}}
    checkpoints.save(tmp_path, 1, {"value": jnp.float32(1)}, about=about)
    path = tmp_path / "1" / checkpoints.MANIFEST
    assert json.loads(path.read_text())["about"] == about
    path.write_text(path.read_text().replace("0123abcd", "0123abce"))
    with pytest.raises(InputError, match="its own sha256 is another"):
        checkpoints.restore(tmp_path, {"value": jnp.float32(0)})


def test_a_killed_writer_leaves_nothing_once_swept(tmp_path):
    make_steps(tmp_path, 1, 2)
    half = tmp_path / ".writing-killed"
    (half / "new").mkdir(parents=True)
    (tmp_path / "2").rename(half / "2")  # killed while 2 was replaced
    (tmp_path / ".writing-other" / "1").mkdir(parents=True)  # and after 1 was
    checkpoints.sweep(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "2"]
    assert checkpoints.restore(tmp_path, {"step": jnp.int32(0)})["step"] == 2
    assert checkpoints.restore(tmp_path, {"step": jnp.int32(0)}, step=1)["step"] == 1
    checkpoints.sweep(tmp_path / "absent")


def test_same_step_is_replaced(tmp_path):
    checkpoints.save(tmp_path, 1, {"value": jnp.float32(1)})
    checkpoints.save(tmp_path, 1, {"value": jnp.float32(2)})
    assert checkpoints.restore(tmp_path, {"value": jnp.float32(0)})["value"] == 2
    assert [path.name for path in tmp_path.iterdir()] == ["1"]


@pytest.fixture
def synced(monkeypatch):
    """Folders that are made sure of, each with the checkpoints and scratch folders it had then."""
    seen = []

    def look(path):
        if path.is_dir():
            seen.append((path, sorted(each.name for each in path.rglob("*") if each.is_dir())))

    monkeypatch.setattr(checkpoints, "sync", look)
    monkeypatch.setattr(records, "sync", look)
    return seen


def test_folders_made_for_a_checkpoint_are_on_the_disk(tmp_path, synced):
    make_steps(tmp_path / "run" / "checkpoints", 1)
    assert (tmp_path, ["checkpoints", "run"]) in synced
    assert (tmp_path / "run", ["checkpoints"]) in synced


def test_a_checkpoint_is_on_the_disk_before_another_one_is_deleted(tmp_path, synced):
    def kept(folders):
        return [name for name in folders if name.isdecimal() or name == "old"]

    make_steps(tmp_path, 1)
    synced.clear()
    make_steps(tmp_path, 1)  # the new one beside the old one
    assert [kept(folders) for path, folders in synced if path == tmp_path] == [["1", "1"]]
    make_steps(tmp_path, 2)
    synced.clear()
    checkpoints.delete_after(tmp_path, 1)
    assert [kept(folders) for _, folders in synced] == [["1", "old"]]


def test_what_is_put_back_is_on_the_disk_before_its_leftovers_go(tmp_path, synced):
    (tmp_path / ".writing-killed" / "3").mkdir(parents=True)
    checkpoints.sweep(tmp_path)
    assert synced == [(tmp_path, [".writing-killed", "3"])]


def test_interrupted_save_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    checkpoints.save(tmp_path, 1, {"value": jnp.float32(1)})

    def interrupted(path):
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoints, "_digest", interrupted)
    with pytest.raises(KeyboardInterrupt):
        checkpoints.save(tmp_path, 2, {"value": jnp.float32(2)})
    monkeypatch.undo()
    assert checkpoints.latest_step(tmp_path) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["1"]


def test_absent_checkpoints_are_one_line(saved, tmp_path):
    with pytest.raises(InputError, match="no checkpoint: found steps"):
        checkpoints.restore(tmp_path, make_state())
    with pytest.raises(InputError, match=r"no checkpoint of step 3: found steps \[12\]"):
        checkpoints.restore(saved, make_state(), step=3)
    with pytest.raises(InputError, match="step is -1"):
        checkpoints.save(tmp_path, -1, make_state())


def test_a_list_is_recalled_as_its_manifest_describes_it(tmp_path):
    """Without knowing shapes; arrays without elements too, which Orbax refuses."""
    leaves = [jnp.arange(6.0).reshape(2, 3), jnp.zeros((0, 4)), jnp.array(True)]
    leaves += [jnp.ones(2, jnp.bfloat16)] * 9  # more than one digit counts
    checkpoints.save(tmp_path, 3, leaves, about={"belongs": {"seed": 1}})
    found = checkpoints.recall(tmp_path, 3)
    assert found.about == checkpoints.recall_about(tmp_path, 3) == {"belongs": {"seed": 1}}
    for ours, theirs in zip(found.leaves, leaves, strict=True):
        assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype)
        np.testing.assert_array_equal(ours, theirs)
    with pytest.raises(InputError, match="missing or damaged"):
        checkpoints.recall(tmp_path, 4)


def test_a_future_that_was_given_up_is_deleted(tmp_path):
    for step in (2, 5, 9):
        checkpoints.save(tmp_path, step, [jnp.ones(2)])
    checkpoints.delete_after(tmp_path, 5)
    assert checkpoints.steps(tmp_path) == [2, 5]
    assert [path.name for path in tmp_path.glob(".*")] == []


def test_a_step_that_cannot_be_replaced_stays(tmp_path, monkeypatch):
    checkpoints.save(tmp_path, 1, {"a": jnp.ones(2)})
    rename = Path.rename

    def refuse_new(path, target):
        if path.name == "new":
            raise KeyboardInterrupt
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", refuse_new)
    with pytest.raises(KeyboardInterrupt):
        checkpoints.save(tmp_path, 1, {"a": jnp.zeros(2)})
    assert [path.name for path in tmp_path.iterdir()] == ["1"]
    np.testing.assert_array_equal(checkpoints.restore(tmp_path, {"a": jnp.ones(2)})["a"], 1.0)
