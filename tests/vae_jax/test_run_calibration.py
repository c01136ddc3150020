"""Calibration of a run's chains: those that went wrong have no ranks."""

import jax
import numpy as np
import pytest

from bayes_jax import Draws, InputError
from bayes_jax.exact import linear_gaussian
from vae_jax import run_calibration
from vae_jax.comparison.methods import Engines
from vae_jax.configs import InferenceBudget

NUM = 20


def sample_with_faults(key, model, x, **options):
    """Draws that are finite, two of them of chains that met NaN."""
    z, valid = jax.random.normal(key, (len(x), 2, 4, 1)), ~np.isin(np.arange(NUM), [3, 7])
    return Draws(*[0] * len(Draws._fields))._replace(z=z, valid=valid)


def test_chains_that_went_wrong_have_no_ranks(monkeypatch):
    params = linear_gaussian.LinearGaussian(np.ones((3, 1)), np.zeros(3), np.ones(3))
    model = linear_gaussian.generative(params)._replace(guide=None)
    monkeypatch.setattr(run_calibration, "Engines", lambda: Engines(sample_with_faults))
    expected = r"draws of 2 of 20 observations come from chains .* the first of them x\[3\]"
    with pytest.raises(InputError, match=expected):
        run_calibration.calibrate(jax.random.key(0), model, InferenceBudget(), num_simulations=NUM)
