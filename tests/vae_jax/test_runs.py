"""The run folder: configs come back, foreign folders are left alone, files are written whole."""

import dataclasses
import errno
import json
import os
import subprocess
from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import pytest

from bayes_jax.errors import InputError
from bayes_jax.estimates import EvidenceKind
from vae_jax import configs, provenance, records, runs
from vae_jax.systems import SYSTEMS


@pytest.fixture(autouse=True)
def quick_versions(monkeypatch):
    monkeypatch.setattr(runs, "versions", lambda: {"python": "3"})


def refused(function, *args, **options):
    """The message of the InputError, which must be one line."""
    with pytest.raises(InputError) as caught:
        function(*args, **options)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def run_config(system="vae", **options):
    row = SYSTEMS[system]
    return runs.RunConfig(system, row.config(**options), row.train(), row.data())


def contents(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_run_reads_back_as_it_was(tmp_path, system):
    config = run_config(system)._replace(data=SYSTEMS[system].data(seed=3, data_dir="there"))
    folder = runs.create(tmp_path / "deep" / "run", config)
    assert folder.is_absolute()
    assert runs.read_run(folder) == config
    assert runs.read_config(folder)["versions"] == {"python": "3"}


def test_the_same_config_goes_on_in_its_folder(tmp_path):
    folder = runs.create(tmp_path / "run", run_config(latent_dim=2))
    runs.append_metrics(folder, {"epoch": 1})
    before = contents(folder)
    assert runs.create(tmp_path / "run", run_config(latent_dim=2)) == folder
    assert contents(folder) == before


@pytest.mark.parametrize("overwrite", [False, True])
def test_only_overwrite_replaces_another_run(tmp_path, overwrite):
    folder = runs.create(tmp_path / "run", run_config(latent_dim=2))
    (folder / "checkpoints" / "7").mkdir(parents=True)
    (folder / "checkpoints" / "7" / "weights").write_bytes(b"w")
    runs.append_metrics(folder, {"epoch": 1})
    before = contents(folder)
    other = run_config(latent_dim=3)
    if overwrite:
        runs.create(folder, other, overwrite=True)
        assert runs.read_run(folder) == other
        assert set(contents(folder)) == {"config.json"}
    else:
        message = refused(runs.create, folder, other)
        assert "config.latent_dim is 2 there, 3 here" in message
        assert contents(folder) == before


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize(
    "files",
    [{"thesis.tex": "x"}, {"config.json": '{"a": 1}'}, {"config.json": "{"}, {"config.json": "[]"}],
    ids=["papers", "another program's", "damaged", "a list"],
)
def test_folders_that_are_no_runs_are_left_alone(tmp_path, files, overwrite):
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    before = contents(tmp_path)
    message = refused(runs.create, tmp_path, run_config(), overwrite=overwrite)
    assert str(tmp_path) in message
    assert contents(tmp_path) == before


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "out").write_text("x")
    assert "is a file" in refused(runs.create, tmp_path / "out", run_config())


def test_overwriting_does_not_follow_links_out_of_the_run(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("x")
    folder = runs.create(tmp_path / "run", run_config())
    (folder / "figures").symlink_to(outside)
    runs.create(folder, run_config(latent_dim=3), overwrite=True)
    assert contents(outside) == {"precious": b"x"}


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (lambda c: c["config"].update(widht=3), "config.widht is unknown"),
        (lambda c: c["config"].pop("latent_dim"), "config.latent_dim is missing"),
        (lambda c: c["config"].update(latent_dim="16"), "config.latent_dim is '16': expected int"),
        (lambda c: c["config"].update(latent_dim=True), "config.latent_dim is True"),
        (lambda c: c["config"].update(latent_dim=0), "config.latent_dim is 0: expected at least 1"),
        (lambda c: c["config"].update(hidden_dims=[2, 1.5]), "config.hidden_dims is 1.5"),
        (lambda c: c["data"].update(observation="grey"), "data.observation is 'grey'"),
        (lambda c: c["data"].update(data_dir=3), "data.data_dir is 3"),
        (lambda c: c.pop("train"), "train.batch_size is missing"),
        (lambda c: c.update(train=[1]), r"train is [1]"),
        (lambda c: c.update(system="wae"), "system is 'wae', expected one of vae"),
        (lambda c: c.update(system=["vae"]), "system is ['vae'], expected one of vae"),
        (lambda c: c.update(project="other"), "not written by vae-bayes-jax"),
    ],
)
def test_an_edited_config_is_refused_by_field(tmp_path, edit, expected):
    folder = runs.create(tmp_path / "run", run_config())
    content = json.loads((folder / "config.json").read_text())
    edit(content)
    runs.write_json(folder / "config.json", content)
    assert expected in refused(runs.read_run, folder)


def test_what_is_no_run_is_named(tmp_path):
    assert "no such folder" in refused(runs.read_run, tmp_path / "none")
    assert "has no config.json" in refused(runs.read_run, tmp_path)


def test_nested_configs_come_back():
    @dataclasses.dataclass(frozen=True)
    class Outer:
        data: configs.DataConfig
        rate: float
        note: str | None = None

    outer = Outer(configs.DataConfig(seed=2), rate=1.0)
    plain = json.loads(json.dumps(runs.to_plain(outer)).replace("1.0", "1"))
    assert runs.from_dict(Outer, plain) == outer


def test_json_holds_what_results_hold(tmp_path):
    class Pair(NamedTuple):
        left: float
        right: Path

    content = {
        "array": np.arange(3, dtype=np.int64),
        "device array": jnp.float32(0.5),
        "bool": np.bool_(True),
        "kind": EvidenceKind.SANDWICH,
        "upper": float("inf"),
        "stderr": np.float32("nan"),
        "pair": Pair(1.0, Path("a")),
        2: ("é", None),
    }
    runs.write_json(tmp_path / "deep" / "results.json", content)
    assert json.loads((tmp_path / "deep" / "results.json").read_text()) == {
        "array": [0, 1, 2],
        "device array": 0.5,
        "bool": True,
        "kind": "sandwich",
        "upper": None,
        "stderr": None,
        "pair": {"left": 1.0, "right": "a"},
        "2": ["é", None],
    }


def test_a_write_that_fails_leaves_the_old_content(tmp_path, monkeypatch):
    path = tmp_path / "results.json"
    runs.write_json(path, {"old": 1})
    with pytest.raises(TypeError):
        runs.write_json(path, {"new": object()})

    def full_disk(*_):
        raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="no space"):
        runs.write_json(path, {"new": 1})
    assert contents(tmp_path) == {"results.json": b'{\n  "old": 1\n}\n'}


def test_a_reader_never_sees_a_half(tmp_path, monkeypatch):
    """At the moment of the swap the old file is whole, and so is the new one beside it."""
    path = tmp_path / "a"
    runs.write_bytes(path, b"old")
    seen = []
    replace = os.replace

    def watched(source, target):
        seen.append((Path(source).read_bytes(), Path(target).read_bytes()))
        replace(source, target)

    monkeypatch.setattr(os, "replace", watched)
    runs.write_bytes(path, b"new")
    assert seen == [(b"new", b"old")]
    assert path.read_bytes() == b"new"


def test_what_killed_writers_left_is_swept_and_nothing_else(tmp_path):
    written = ["config.json", "report.html", "results.json", "metrics.jsonl", "figures/a.png"]
    folder = runs.create(tmp_path / "run", {"a": 1})
    for name in written:
        records._write_beside(folder / name, b"half")  # and killed before it was renamed
    others = [".gitignore", ".report.html.swp", ".notes.settings", "figures/.a.png.not-ours"]
    for name in others:
        (folder / name).write_text("x")
    (folder / ".a.b.a_folder").mkdir()
    runs.create(folder, {"a": 1})
    assert {*contents(folder)} == {"config.json", *others}
    assert (folder / ".a.b.a_folder").is_dir()


def test_new_names_are_on_the_disk_too(tmp_path, monkeypatch):
    """A file that was replaced, and each folder that was made for it, by the folder above."""
    synced = []
    monkeypatch.setattr(records, "sync", lambda path: synced.append((path, os.listdir(path))))
    runs.write_bytes(tmp_path / "a" / "b" / "report", b"x")
    assert synced[-1] == (tmp_path / "a" / "b", ["report"])
    assert (tmp_path, ["a"]) in synced
    assert (tmp_path / "a", ["b"]) in synced
    synced.clear()
    runs.write_bytes(tmp_path / "a" / "b" / "report", b"y")
    assert synced == [(tmp_path / "a" / "b", ["report"])]


def test_an_overwritten_run_is_gone_from_the_disk_before_its_config_is(tmp_path, monkeypatch):
    folder = runs.create(tmp_path / "run", run_config())
    runs.append_metrics(folder, {"epoch": 1})
    synced = []
    monkeypatch.setattr(runs, "sync", lambda path: synced.append((path, contents(path))))
    before = {"config.json": (folder / "config.json").read_bytes()}
    runs.create(folder, run_config(latent_dim=3), overwrite=True)
    assert synced == [(folder, before)]


def test_metrics_grow_line_by_line(tmp_path):
    assert runs.read_metrics(tmp_path) == []
    runs.append_metrics(tmp_path, {"epoch": 1, "loss": jnp.float32(2.5)})
    runs.append_metrics(tmp_path, {"epoch": 2, "loss": float("nan"), "note": "a\u2028b"})
    assert runs.read_metrics(tmp_path) == [
        {"epoch": 1, "loss": 2.5},
        {"epoch": 2, "loss": None, "note": "a\u2028b"},
    ]
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": ')
    assert "metrics.jsonl:3" in refused(runs.read_metrics, tmp_path)


@pytest.mark.parametrize("torn", [b'{"epoch": ', b'{"epoch": 9}', b"\0" * 9, b"\xff"])
def test_metrics_are_rewound_by_epoch_and_lose_a_torn_line(tmp_path, torn):
    for epoch in (1, 2, 4, 5):
        runs.append_metrics(tmp_path, {"epoch": epoch})
    with (tmp_path / "metrics.jsonl").open("ab") as file:
        file.write(torn)
    assert [runs.count_epochs(tmp_path, epoch) for epoch in (0, 2, 3, 4, 9)] == [0, 2, 2, 3, 4]
    runs.rewind_metrics(tmp_path, 4)
    runs.append_metrics(tmp_path, {"epoch": 5})
    assert [row["epoch"] for row in runs.read_metrics(tmp_path)] == [1, 2, 4, 5]


@pytest.mark.parametrize("line", [b"{", b"[1]", b'{"loss": 1}', b'{"epoch": "1"}', b"\xff", b""])
def test_a_damaged_line_of_metrics_is_named(tmp_path, line):
    (tmp_path / "metrics.jsonl").write_bytes(line + b'\n{"epoch": 2}\n')
    for use in (runs.read_metrics, lambda folder: runs.rewind_metrics(folder, 2)):
        assert "metrics.jsonl:1: damaged line" in refused(use, tmp_path)


def test_the_hash_tells_configs_apart():
    hashes = {runs.config_hash(run_config(latent_dim=dim)) for dim in (2, 3, 2)}
    assert len(hashes) == 2
    assert runs.config_hash(configs.VAEConfig()) == runs.config_hash(
        runs.to_plain(configs.VAEConfig())
    )


def test_versions_say_what_numbers_depend_on():
    import jax

    found = provenance.versions()
    assert found["jax"] == jax.__version__
    assert found["device"] == jax.devices()[0].device_kind
    assert found["cores"] >= 1
    assert json.loads(json.dumps(found)) == found


def test_the_commit_is_that_of_this_checkout():
    root = Path(runs.__file__).parents[1]
    if not (root / ".git").exists():
        assert provenance.git_hash() is None
        return
    command = ["git", "-C", str(root), "rev-parse", "HEAD"]
    commit = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    assert commit.startswith(provenance.git_hash().removesuffix("-dirty"))


def test_an_installed_package_has_no_commit(tmp_path, monkeypatch):
    """Also not that of the repository around the environment it is installed in."""
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "First"], check=True)
    package = tmp_path / "site-packages" / "vae_jax"
    package.mkdir(parents=True)
    monkeypatch.setattr(provenance, "__file__", str(package / "provenance.py"))
    assert provenance.git_hash() is None


def test_results_have_meta_and_rows():
    meta = runs.meta(configs.VAEConfig(), seconds=1.5, command="train.py vae")
    found = runs.results(meta, [{"model": "vae", "log_prob": np.float32(-1.5)}])
    assert set(found["meta"]) == {"command", "config", "versions", "device", "git", "seconds"}
    config = found["meta"]["config"]
    assert (config["latent_dim"], config["hidden_dims"]) == (16, [512, 256])
    assert config["objective"]["name"] == "elbo"
    assert found["rows"] == [{"model": "vae", "log_prob": -1.5}]


def test_what_a_kill_left_of_the_first_file_is_no_run(tmp_path):
    (tmp_path / ".config.json.x1y2").write_text("{")
    assert runs.check(tmp_path, {"a": 1}) is False
    runs.create(tmp_path, {"a": 1})
    assert [path.name for path in tmp_path.iterdir()] == [runs.CONFIG]
