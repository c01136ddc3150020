"""A run comes back as it was, and trusts no file."""

import dataclasses
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bayes_jax.errors import InputError
from vae_jax import checkpoints, runs, systems, trained, training
from vae_jax.configs import (
    FactorAnalysisConfig,
    MixtureConfig,
    MixtureOfFactorAnalysersConfig,
    ObservationSpec,
    PPCAConfig,
)
from vae_jax.data import arrays
from vae_jax.data.kinds import kind_of
from vae_jax.runs import CHECKPOINTS


def test_the_loaded_model_is_the_best_one_of_the_loop(config, dataset, unbroken):
    key = jax.random.key(config.train.seed)
    result = training.fit(key, unbroken.system, dataset.train, dataset.validation, config.train)
    jax.tree.map(np.testing.assert_array_equal, unbroken.progress.best_state, result.state)
    x = jnp.asarray(dataset.test[0], jnp.float32)
    fresh = unbroken.system.generative(result.state).guide(x).mean
    np.testing.assert_array_equal(unbroken.generative.guide(x).mean, fresh)
    assert unbroken.seen.shape == (4, 5)


EXACT = [
    ("mixture", MixtureConfig(2), "bernoulli"),
    ("mixture", MixtureConfig(2), "gaussian"),
    ("ppca", PPCAConfig(2), "gaussian"),
    ("factor_analysis", FactorAnalysisConfig(2), "gaussian"),
    ("mixture_of_factor_analysers", MixtureOfFactorAnalysersConfig(2, 2), "gaussian"),
]


@pytest.mark.parametrize(("name", "system_config", "head"), EXACT)
def test_exact_systems_begin_with_the_shapes_they_end_with(name, system_config, head):
    x = np.random.default_rng(1).random((30, 6)).astype(np.float32)
    x = x if head == "gaussian" else (x < 0.5).astype(np.float32)
    system = systems.build(name, system_config, ObservationSpec(6, head))
    fitted = system.fit(jax.random.key(0), x)
    start = jax.eval_shape(system.init, jax.random.key(0), x)

    def described(tree):
        return jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), tree)

    assert described(start) == described(fitted)


def test_an_exact_run_comes_back_as_it_was_fitted(config, dataset, tmp_path):
    exact = config._replace(system="mixture", config=MixtureConfig(2))
    run = trained.train(trained.prepare(tmp_path, exact, dataset))
    key = jax.random.split(jax.random.key(0), 3)[0]
    fitted = run.system.fit(key, dataset.train.astype(np.float32))
    jax.tree.map(np.testing.assert_array_equal, run.progress.best_state, fitted)
    assert run.is_finished
    assert trained.prepare(tmp_path, exact, dataset).is_finished


def test_a_folder_that_is_no_run(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        trained.load(tmp_path / "none")
    with pytest.raises(InputError, match=r"has no config\.json"):
        trained.load(tmp_path)


def test_a_damaged_checkpoint_is_named(config, dataset, tmp_path):
    trained.train(trained.prepare(tmp_path, config, dataset))
    files = [path for path in (tmp_path / CHECKPOINTS / "5" / "state").rglob("*") if path.is_file()]
    largest = max(files, key=lambda path: path.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 1
    largest.write_bytes(content)
    for use in (trained.load, lambda folder: trained.prepare(folder, config, dataset)):
        with pytest.raises(InputError, match="is damaged"):
            use(tmp_path)


@pytest.mark.parametrize(
    ("edit", "part"),
    [
        (lambda content: content["images"]["spec"].update(min_variance=2e-4), "images"),
        (lambda content: content["images"]["spec"].update(head="continuous_bernoulli"), "images"),
        (lambda content: content["train"].update(seed=1), "config"),
        (lambda content: content["data"].update(seed=1), "config"),
    ],
    ids=["min_variance", "head", "train.seed", "data.seed"],
)
def test_a_config_that_changed_since_the_checkpoint_is_refused(unbroken, tmp_path, edit, part):
    folder = shutil.copytree(unbroken.folder, tmp_path / "run")
    content = runs.read_config(folder)
    edit(content)
    runs.write_json(folder / "config.json", content)
    with pytest.raises(InputError, match=rf"5 was saved beside another {part} than .*config\.json"):
        trained.load(folder)


def test_a_checkpoint_of_another_run_is_refused(config, dataset, unbroken, tmp_path):
    other = config._replace(train=dataclasses.replace(config.train, seed=1))
    trained.train(trained.prepare(tmp_path, other, dataset))
    shutil.rmtree(tmp_path / CHECKPOINTS)
    shutil.copytree(unbroken.folder / CHECKPOINTS, tmp_path / CHECKPOINTS)
    for use in (trained.load, lambda folder: trained.prepare(folder, other, dataset)):
        with pytest.raises(InputError, match="was saved beside another config"):
            use(tmp_path)


@pytest.mark.parametrize("about", [{}, {"config": "as it was"}])
def test_older_checkpoints_that_say_less_are_read(config, unbroken, tmp_path, about):
    folder = shutil.copytree(unbroken.folder, tmp_path / "run")
    about = {part: runs.config_hash(config) for part in about}
    checkpoints.save(folder / CHECKPOINTS, 5, unbroken.progress, about=about)
    assert trained.load(folder).is_finished


def test_a_run_made_by_something_else_has_no_images(unbroken, tmp_path):
    content = runs.read_config(unbroken.folder)
    del content["images"]
    runs.write_json(tmp_path / "config.json", content)
    with pytest.raises(InputError, match="images is None"):
        trained.load(tmp_path)


def test_images_that_changed_since_are_refused(config, dataset, unbroken, images_file, tmp_path):
    original = images_file.read_bytes()
    assert kind_of(config.data).describe(trained.load_data(unbroken)) == unbroken.seen
    try:
        np.save(images_file, np.random.default_rng(1).random((60, 4, 5)) < 0.3)
        with pytest.raises(InputError, match="holds other images now"):
            trained.load_data(unbroken)
        with pytest.raises(InputError, match=r"belongs to another run \(images.sha256"):
            trained.prepare(unbroken.folder, config, arrays.load(config.data))
        np.save(images_file, np.zeros((60, 5, 4), bool))
        with pytest.raises(InputError, match=r"are 5 x 4 pixels, those of the run .* 4 x 5"):
            trained.load_data(unbroken)
    finally:
        images_file.write_bytes(original)


def test_other_images_of_the_same_size_are_welcome(unbroken, tmp_path):
    np.save(tmp_path / "others.npy", np.ones((20, 4, 5), bool))
    found = trained.load_data(unbroken, name=str(tmp_path / "others.npy"))
    assert found.test.shape == (4, 20)
    with pytest.raises(InputError, match="images of digits are 8 x 8 pixels"):
        trained.load_data(unbroken, name="digits")


def test_nothing_is_written_before_the_first_epoch_is_done(config, dataset, tmp_path):
    greedy = config._replace(train=dataclasses.replace(config.train, batch_size=100))
    with pytest.raises(InputError, match="batch_size is 100"):
        trained.train(trained.prepare(tmp_path / "new", greedy, dataset))
    assert not (tmp_path / "new").exists()
