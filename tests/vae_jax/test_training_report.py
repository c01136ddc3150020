"""What a person is told of a run whose score is no number."""

import json

import jax
import jax.numpy as jnp
import numpy as np

from bayes_jax.estimates import exact_evidence
from vae_jax import trained, training_report
from vae_jax.configs import DataConfig, MixtureConfig, TrainConfig
from vae_jax.data.arrays import load
from vae_jax.runs import RunConfig


def test_examples_without_a_number_are_named(tmp_path):
    path = tmp_path / "images.npy"
    np.save(path, np.random.default_rng(0).random((60, 4, 5)) < 0.3)
    config = RunConfig("mixture", MixtureConfig(2), TrainConfig(), DataConfig(str(path)))
    dataset = load(config.data)
    run = trained.train(trained.prepare(tmp_path / "run", config, dataset))

    def spoiled(key, x):
        found = run.generative.log_evidence(key, x).lower
        return exact_evidence(found.at[3].set(jnp.nan))

    bad = run._replace(generative=run.generative._replace(log_evidence=spoiled))
    lines = training_report.write(jax.random.key(0), bad, dataset).warnings
    expected = "images, exact evidence: log p(x) of 1 images is NaN or infinite, the first of them "
    for line, split in zip(lines, ("validation", "test"), strict=True):
        assert line.startswith(f"{split} {expected}image 3")
    rows = json.loads((run.folder / "results.json").read_text())["rows"]
    assert [row["log_prob"] for row in rows] == [None, None]
