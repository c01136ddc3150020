"""Runs on text: trained, stopped, loaded and scored by the code that images have."""

import dataclasses

import jax
import numpy as np
import pytest

from bayes_jax import InputError
from bayes_jax.exact import ngram
from bayes_jax.sequences import lengths
from vae_jax import arguments, config_file, runs, trained, training_report
from vae_jax.configs import (
    DataConfig,
    LanguageModelConfig,
    NGramConfig,
    SequenceConfig,
    TextConfig,
    TextHMMConfig,
    TextTrainConfig,
    TextVAEConfig,
    VAEConfig,
)
from vae_jax.data.kinds import kind_of
from vae_jax.runs import RunConfig

KEY = jax.random.key(0)
SMALL = SequenceConfig(width=4)
CONFIGS = {
    "language_model": LanguageModelConfig(SMALL),
    "text_vae": TextVAEConfig(latent_dim=2, encoder=SMALL, decoder=SMALL),
    "text_hmm": TextHMMConfig(2),
    "ngram": NGramConfig(3),
}
LOOP = TextTrainConfig(num_epochs=3, batch_size=10)


class Killed(Exception):
    """Stands for a kill in the middle of a run."""


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """Sixty sentences of three to five words, of twelve different ones."""
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("text") / "lines.txt"
    words = [f"w{index}" for index in range(12)]
    lines = [" ".join(rng.choice(words, rng.integers(3, 6))) for _ in range(60)]
    path.write_text("\n".join(lines))
    return path


@pytest.fixture(scope="module", params=CONFIGS)
def job(request, path, tmp_path_factory):
    """What is to be trained, in a new folder."""
    folder = tmp_path_factory.mktemp("runs") / request.param
    data = TextConfig(str(path))
    config = RunConfig(request.param, CONFIGS[request.param], LOOP, data)
    return trained.prepare(folder, config, kind_of(data).load(data))


@pytest.fixture(scope="module")
def run(job):
    return trained.train(job)


def test_a_run_comes_back_with_its_vocabulary(job, run):
    assert run.seen.vocabulary == job.dataset.vocabulary
    assert run.seen.num_train == len(job.dataset.train)
    dataset = trained.load_data(run)
    np.testing.assert_array_equal(dataset.test, job.dataset.test)
    assert dataset.vocabulary == job.dataset.vocabulary
    drawn = np.asarray(run.generative.sample(KEY, 5))
    assert len(run.seen.vocabulary.sentences(drawn)) == 5


def test_a_killed_run_goes_on_as_if_it_had_not_been(job, run, tmp_path):
    def kill(report):
        if report.epoch == 2:
            raise Killed

    def begin():
        return trained.prepare(tmp_path, job.config, job.dataset)

    if not run.system.fit:
        with pytest.raises(Killed):
            trained.train(begin(), on_epoch=kill, seconds_between_checkpoints=0.0)
        assert 0 < begin().num_epochs_done < 3
    again = trained.train(begin())
    jax.tree.map(np.testing.assert_array_equal, again.progress, run.progress)


def test_n_grams_are_counted_again_in_all_training_sentences(job, run):
    """The state of ngram, of which a loaded run makes its counts."""
    if job.config.system == "ngram":
        rows, num_tokens = job.dataset.train, job.dataset.spec.num_tokens
        np.testing.assert_array_equal(run.progress.best_state, rows)
        expected = ngram.log_prob(
            ngram.fit_params(rows, num_tokens=num_tokens, order=3), job.dataset.test
        )
        found = run.generative.log_evidence(KEY, job.dataset.test).lower
        np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_the_command_of_a_run_is_its_config(job, run):
    """From its config.json, and from what differs from the defaults."""
    again = arguments.parse_train(["--config", str(run.folder / runs.CONFIG)])
    shortest = config_file.command(*job.config).split()[2:]
    for command in (again, arguments.parse_train(shortest)):
        assert RunConfig(command.name, command.system, command.train, command.data) == job.config


def test_other_sentences_are_seen_with_the_vocabulary_of_the_run(run, tmp_path):
    other = tmp_path / "other.txt"
    other.write_text("w3 w1 zebra\n" * 20)
    dataset = trained.load_data(run, name=str(other))
    assert dataset.test.shape[1] == run.seen.spec.length
    assert run.seen.vocabulary.sentences(dataset.test[:1]) == ["w3 w1 <unk>"]


def test_a_corpus_that_changed_since_is_refused(run, path):
    original = path.read_text()
    try:
        path.write_text(original.replace("w1 ", "w2 "))
        with pytest.raises(InputError, match="holds other sentences now"):
            trained.load_data(run)
    finally:
        path.write_text(original)


def test_scores_are_perplexities_that_say_what_they_are(job, run):
    """exp of nats over tokens; below, exp(-ELBO) is an upper bound, and is called one."""
    rows = training_report.score_rows(KEY, run, job.dataset)
    for row in rows:
        num_tokens = lengths(getattr(job.dataset, row["split"])).sum()
        expected = np.exp(-row["log_prob"] * row["num_sentences"] / num_tokens)
        assert row["perplexity"] == pytest.approx(expected, rel=1e-5)
        named = {"exact": "exact", "lower": "upper bound"}[row["kind"]]
        assert row["perplexity_kind"] == named
        assert row["unknown_share"] == job.dataset.unknown_shares[row["split"]]
    is_exact = run.generative.latent is None
    assert {row["kind"] for row in rows} == {"exact" if is_exact else "lower"}


def test_the_report_is_a_table_and_a_page(job, run):
    written = training_report.write(KEY, run, job.dataset)
    assert written.scores.title == f"Held-out sentences: {job.config.system} on {job.dataset.name}"
    assert (run.folder / runs.REPORT).is_file()
    seeds = training_report.over_seeds([written.scores, written.scores])
    assert seeds.rows[0]["perplexity"] == written.scores.rows[0]["perplexity"]
    assert len(written.information) == (run.generative.guide is not None)


def test_a_kind_of_data_that_a_system_does_not_see_is_refused(job, tmp_path):
    with pytest.raises(InputError, match="vae on a TextSpec: expected ObservationSpec"):
        trained.prepare(
            tmp_path, job.config._replace(system="vae", config=VAEConfig()), job.dataset
        )
    data = DataConfig("digits")
    config = job.config._replace(data=data)
    with pytest.raises(InputError, match="on a ObservationSpec: expected TextSpec"):
        trained.prepare(tmp_path, config, kind_of(data).load(data))


def test_a_script_of_images_refuses_the_run(run):
    with pytest.raises(InputError, match="is a run on sentences: expected one on images"):
        trained.load(run.folder, script="infer.py")


def test_a_file_of_text_is_no_image_and_the_reverse(path, tmp_path):
    np.save(tmp_path / "images.npy", np.zeros((20, 2, 2), np.uint8))
    for config in (DataConfig(str(path)), TextConfig(str(tmp_path / "images.npy"))):
        with pytest.raises(InputError) as error:
            kind_of(config).load(config)
        assert "\n" not in str(error.value)
        assert config.name in str(error.value)


def test_another_seed_of_the_loop_is_another_run(job, run):
    other = job.config._replace(train=dataclasses.replace(LOOP, seed=1))
    with pytest.raises(InputError, match=r"belongs to another run \(train\.seed"):
        trained.prepare(run.folder, other, job.dataset)
