"""sample.py: figures of every ability a model has, and none that it has not."""

import shutil

import numpy as np
import pytest
from matplotlib import image

from vae_jax import runs

SAMPLES, RECONSTRUCTIONS, HALVES = "samples.png", "reconstructions.png", "halves.png"
FILES = (SAMPLES, RECONSTRUCTIONS, "interpolations.png", "traversals.png", HALVES, "walk.gif")


@pytest.fixture(scope="module")
def pictures(run, vae_run, tmp_path_factory):
    """Seed -> the folder with what it draws."""

    def draw(seed):
        folder = tmp_path_factory.mktemp("pictures")
        args = [vae_run, "--num", 20, "--seed", seed, "--out", folder]
        assert run("sample", *args).code == 0
        return folder

    return draw


def test_help_is_quick(help_of):
    assert "--num" in help_of("sample")


@pytest.mark.slow
def test_a_vae_gives_every_figure_and_the_seed_decides(pictures):
    first, again, other = pictures(0), pictures(0), pictures(1)
    assert {path.name for path in first.iterdir()} == {*FILES}
    pixels = {
        name: [image.imread(folder / name) for folder in (first, again, other)] for name in FILES
    }
    for name, (drawn, repeated, changed) in pixels.items():
        np.testing.assert_array_equal(drawn, repeated)
        assert np.array_equal(drawn, changed) == (name == RECONSTRUCTIONS)


def test_a_model_without_a_continuous_latent_says_what_it_cannot_give(run, mixture_run):
    done = run("sample", mixture_run, "--num", 10)
    assert done.code == 0
    for name in {*FILES} - {SAMPLES, HALVES}:
        assert f"no {name}: mixture has no continuous latent\n" in done.err
    figures = mixture_run / runs.FIGURES
    assert done.out.split() == [str(figures / SAMPLES), str(figures / HALVES)]
    assert {path.name for path in figures.iterdir()} == {SAMPLES, HALVES}


def test_an_exact_posterior_serves_as_encoder(run, ppca_run, tmp_path):
    done = run("sample", ppca_run, "--num", 10, "--out", tmp_path)
    assert done.code == 0
    assert len(done.out.splitlines()) == len(FILES)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--num", 0], "num is 0: expected at least 1"),
        (["--seed", -1], "seed is -1: expected at least 0"),
    ],
)
def test_a_wrong_option_is_one_line(refused, vae_run, tmp_path, args, message):
    assert message in refused("sample", vae_run, *args, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_is_no_run_is_one_line(refused, tmp_path):
    assert "is no run folder" in refused("sample", tmp_path)
    assert "no such folder" in refused("sample", tmp_path / "none")


def test_a_damaged_checkpoint_is_one_line_and_draws_nothing(refused, vae_run, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(vae_run, broken)
    (manifest,) = broken.glob("checkpoints/*/manifest.json")
    manifest.write_text("{")
    assert "manifest.json is missing or damaged" in refused(
        "sample", broken, "--out", tmp_path / "o"
    )
    assert not (tmp_path / "o").exists()


def test_an_unknown_system_is_one_line(refused, vae_run, tmp_path):
    runs.write_json(tmp_path / "config.json", {**runs.read_config(vae_run), "system": "wae"})
    assert "system is 'wae', expected one of vae, iwae" in refused("sample", tmp_path)
