"""What TensorBoard reads is what metrics.jsonl says, also after a run that was stopped."""

import struct
from types import SimpleNamespace

import pytest
from tensorboardX.proto.event_pb2 import Event

from vae_jax import tensorboard
from vae_jax.arguments import parse_train
from vae_jax.configs import ConfigError


def events(folder):
    """Every event of a folder's files, oldest first (records of length, checksum, bytes)."""
    files = (folder / tensorboard.FOLDER).iterdir()
    for path in sorted(files, key=lambda path: path.stat().st_mtime_ns):
        content, at = path.read_bytes(), 0
        while at < len(content):
            (length,) = struct.unpack("<Q", content[at : at + 8])
            yield Event.FromString(content[at + 12 : at + 12 + length])
            at += 16 + length


def scalars(folder):
    """tag -> {step: value}, as TensorBoard shows them: a session start takes back later steps."""
    shown = {}
    for event in events(folder):
        if event.session_log.status == event.session_log.START:
            for steps in shown.values():
                for step in [step for step in steps if step >= event.step]:
                    del steps[step]
        for value in event.summary.value:
            shown.setdefault(value.tag, {})[event.step] = value.simple_value
    return shown


def report(epoch, objective):
    return SimpleNamespace(
        epoch=epoch,
        train={"objective": objective - 1.0},
        validation={"objective": objective, "kl": 2.0},
        images_per_second=1000.0 * epoch,
    )


def test_every_metric_of_every_run_is_written(tmp_path):
    folders = [tmp_path / "seed-0", tmp_path / "seed-1"]
    with tensorboard.recorder(folders) as record:
        record((report(1, -5.0), report(1, -6.0)))
        record((None, report(2, -4.0)))  # the first has stopped
    assert scalars(folders[0]) == {
        "objective/train": {1: -6.0},
        "objective/validation": {1: -5.0},
        "kl/validation": {1: 2.0},
        "images_per_second": {1: 1000.0},
    }
    assert scalars(folders[1])["objective/validation"] == {1: -6.0, 2: -4.0}


def test_epochs_that_are_trained_again_are_taken_back(tmp_path):
    with tensorboard.recorder([tmp_path]) as record:
        for epoch in (1, 2, 3):
            record((report(epoch, -9.0),))
    with tensorboard.recorder([tmp_path]) as record:
        record((report(2, -3.0),))
    assert scalars(tmp_path)["objective/validation"] == {1: -9.0, 2: -3.0}


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"tensorboardX is not installed: pip install"):
        parse_train(["vae", "--tensorboard"])
