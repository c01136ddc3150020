"""train.py and sample.py on text: what is printed, kept, and refused."""

import numpy as np
import pytest

from vae_jax import console

SENTENCES = ["the dog sees anna", "anna hears the dog", "the dog sings", "anna sings again"]
TINY = {
    "language_model": ["--network.width", 4, "--train.num-epochs", 1],
    "text_vae": [
        *("--latent-dim", 2, "--encoder.width", 4, "--decoder.width", 4),
        *("--train.num-epochs", 1),
    ],
    "text_hmm": ["--num-states", 2],
    "ngram": ["--order", 3],
}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "lines.txt"
    path.write_text("\n".join(np.random.default_rng(0).choice(SENTENCES, 50)))
    return path


@pytest.fixture(scope="module", params=TINY)
def text_run(request, run, corpus, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / request.param
    options = ["--train.batch-size", 10, "--data.name", corpus, "--out", folder]
    done = run("train", request.param, *TINY[request.param], *options)
    assert done.code == 0, done.err
    assert f"next: {console.interpreter()} scripts/sample.py {folder}" in done.out
    assert "infer.py" not in done.out
    assert "perplexity / token" in done.out
    return folder


def test_samples_are_printed_and_kept(run, text_run):
    done = run("sample", text_run, "--num", 3)
    assert done.code == 0, done.err
    kept = (text_run / "samples.txt").read_text()
    assert done.out == f"{kept}\n{text_run / 'samples.txt'}\n"
    title, *lines = kept.splitlines()
    is_vae = text_run.name == "text_vae"
    assert title.startswith(f"# 3 samples of {text_run.name}")
    assert ("# between" in kept) == is_vae
    if not is_vae:
        assert all(float(line.split()[0]) < 0 for line in lines)


def test_a_beginning_is_gone_on_with(run, text_run, tmp_path):
    done = run("sample", text_run, "--num", 4, "--prefix", "the zebra", "--out", tmp_path)
    assert done.code == 0, done.err
    assert "warning: never seen in training, so read as <unk>: zebra\n" in done.err
    title, *lines = (tmp_path / "samples.txt").read_text().splitlines()
    assert title.startswith("# after 'the <unk>'")
    assert len(lines) == 4
    assert all("the <unk>" in line for line in lines)


def test_a_latent_can_be_moved_in_where_there_is_one(run, refused, text_run, tmp_path):
    near = ["--num", 2, "--near", "the dog sings", "--between", "anna sings", "the dog"]
    if text_run.name != "text_vae":
        assert f"{text_run.name} has no latent" in refused("sample", text_run, *near)
        return
    done = run("sample", text_run, *near, "--out", tmp_path)
    assert done.code == 0, done.err
    titles = [line for line in done.out.splitlines() if line.startswith("#")]
    assert titles == ["# near 'the dog sings'", "# between 'anna sings' and 'the dog'"]


def test_what_cannot_be_begun_is_one_line(refused, text_run, tmp_path):
    out = tmp_path / "out"
    assert "has 0 tokens: expected 1 to" in refused(
        "sample", text_run, "--prefix", "", "--out", out
    )
    long = " ".join(["the"] * 9)
    assert "has 9 tokens" in refused("sample", text_run, "--prefix", long, "--out", out)
    assert not out.exists()


def test_scripts_of_images_refuse_text(refused, text_run, vae_run):
    for script in ("infer", "impute"):
        assert "is a run on sentences: expected one on images" in refused(script, text_run)
    assert "prefix on a run on images" in refused("sample", vae_run, "--prefix", "the")


@pytest.mark.parametrize(
    ("content", "message"),
    [("", "the file is empty"), ("one line", "holds a single line"), ("a\nb", "holds 2 sentences")],
)
def test_a_corpus_that_cannot_be_split_is_one_line(refused, tmp_path, content, message):
    path = tmp_path / "corpus.txt"
    path.write_text(content)
    out = tmp_path / "run"
    assert message in refused("train", "ngram", "--data.name", path, "--out", out)
    assert not out.exists()


def test_a_character_never_seen_is_one_line(run, refused, corpus, tmp_path):
    options = ["--data.name", corpus, "--data.unit", "character", "--data.min-count", 1]
    assert run("train", "ngram", *options, "--out", tmp_path).code == 0
    assert "the character 'z' was never seen" in refused("sample", tmp_path, "--prefix", "the z")
