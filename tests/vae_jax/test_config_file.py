"""A run's config.json repeats the run, and what is written beside it has the last word."""

import json

import pytest

from vae_jax.arguments import parse_train
from vae_jax.configs import ConfigError
from vae_jax.records import to_plain

ARGUMENTS = {
    "vae": [
        "vae",
        "--hidden-dims",
        "32",
        "16",
        "--objective.name",
        "beta",
        "--objective.beta",
        "2",
    ],
    "mixture": ["mixture", "--num-components", "7", "--data.noise", "fresh"],
    "mirrored": ["vae", "--data.mirrored"],
    "ppca": ["ppca", "--latent-dim", "3", "--data.observation", "gaussian", "--train.seed", "4"],
}


def written(tmp_path, content):
    path = tmp_path / "config.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(path)


def content_of(command):
    parts = {"config": command.system, "train": command.train, "data": command.data}
    return {"system": command.name, **to_plain(parts), "project": "vae-bayes-jax"}


@pytest.mark.parametrize("name", ARGUMENTS)
def test_a_file_stands_for_its_arguments(tmp_path, name):
    command = parse_train(ARGUMENTS[name])
    assert parse_train(["--config", written(tmp_path, content_of(command))]) == command


def test_arguments_beside_it_have_the_last_word(tmp_path):
    path = written(tmp_path, content_of(parse_train(ARGUMENTS["vae"])))
    changed = parse_train(["--config", path, "--train.seed", "9", "--objective.beta", "3"])
    assert (changed.train.seed, changed.system.objective.beta) == (9, 3.0)
    assert changed.system.hidden_dims == (32, 16)
    part = written(tmp_path, {"train": {"num_epochs": 3}})
    assert parse_train(["iwae", "--config", part]).train.num_epochs == 3


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "damaged JSON"),
        ([1], "expected the keys system"),
        ({"versions": {}}, "expected the keys system"),
        ({"system": "wae"}, "wae"),
        ({"system": "vae", "config": {"latent_dims": 3}}, "--latent-dims"),
        ({"system": "vae", "train": {"seed": -1}}, "seed is -1"),
        ({"system": "vae", "train": 3}, "config.json: train is 3: expected fields"),
        ({"system": "vae", "trian": {}}, "trian is unknown: expected some of system, config, tr"),
    ],
)
def test_a_file_that_says_nothing_useful_is_one_line(tmp_path, content, words):
    with pytest.raises(ConfigError) as error:
        parse_train([f"--config={written(tmp_path, content)}"])
    assert "config.json" in str(error.value)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("args", [["--config"], ["--config", "no/such.json"]])
def test_no_file_is_one_line(args):
    with pytest.raises(ConfigError, match=r"expected"):
        parse_train(args)


def test_a_file_may_ask_for_several_runs(tmp_path):
    asked = {"system": "vae", "num_seeds": 3, "learning_rates": [1e-3, 1e-4]}
    command = parse_train(["--config", written(tmp_path, asked)])
    assert (command.num_seeds, command.learning_rates) == (3, (1e-3, 1e-4))
