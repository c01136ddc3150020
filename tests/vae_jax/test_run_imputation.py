"""Rows of imputations: means over the images that went well, and a line on the others."""

import jax.numpy as jnp
import numpy as np
import pytest

from bayes_jax.estimates import EvidenceKind
from bayes_jax.imputation import Imputations, Measures
from vae_jax import run_imputation
from vae_jax.run_imputation import Imputed

NUM = 5
Z = np.random.default_rng(0).normal(size=(NUM, 4, 20, 2))
VALUES = np.arange(1.0, NUM + 1)


def imputed(valid, *, method="mcmc", log_prob=-VALUES, z=Z):
    found = Imputations(jnp.zeros((NUM, 3, 6)), jnp.zeros((NUM, 6)), np.asarray(valid), z)
    measures = Measures(VALUES**2, log_prob, VALUES / NUM, EvidenceKind.ESTIMATE)
    return Imputed(method, found, measures, seconds=10.0)


def test_an_image_that_went_wrong_is_left_out_and_named():
    z = Z.copy()
    z[2] = np.nan
    log_prob = np.where(np.arange(NUM) == 3, np.nan, -VALUES)
    entry = imputed(np.arange(NUM) != 2, log_prob=log_prob, z=z)
    (row,) = run_imputation.rows("model", [entry])
    kept = np.array([1.0, 2.0, 5.0])
    assert row["rmse"] == pytest.approx(np.sqrt(np.mean(kept**2)))
    assert row["log_prob"] == pytest.approx(-kept.mean())
    assert row["stderr"] == pytest.approx(kept.std(ddof=1) / np.sqrt(3))
    assert row["coverage"] == pytest.approx(kept.mean() / NUM)
    assert np.isfinite(row["rhat"])
    assert (row["num_images"], row["seconds"]) == (3, 2.0)
    other = imputed([True] * NUM, method="pseudo_gibbs")
    (line,) = run_imputation.warnings([entry, other])
    assert line.startswith("MCMC on z: 2 images are left out, the first of them image 2: ")


def test_where_all_went_wrong_there_are_no_numbers():
    (row,) = run_imputation.rows("model", [imputed([False] * NUM)])
    assert row["num_images"] == 0
    assert all(np.isnan(row[name]) for name in ("rmse", "log_prob", "stderr", "coverage", "rhat"))
