"""Which latent units carry anything."""

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

from bayes_jax import GenerativeModel, LatentModel
from vae_jax.latent_units import collapse_warning, unit_table

X = np.random.default_rng(0).normal(size=(500, 3)).astype(np.float32)


def model(guide):
    prior = dist.Normal(jnp.zeros(3), 1.0).to_event(1)
    latent = LatentModel(prior, lambda z: dist.Normal(z, 1.0).to_event(1))
    return GenerativeModel(sample=None, log_evidence=None, latent=latent, guide=guide)


def weighted(*weights):
    return lambda x: dist.Normal(jnp.array(weights) * x, 0.5).to_event(1)


def test_rows_are_the_closed_forms_and_the_busiest_comes_first():
    weights = np.array([0.0, 1.0, 0.5])
    table = unit_table(model(weighted(*weights)), X)
    assert [row["unit"] for row in table.rows] == [1, 2, 0]
    assert [row["active"] for row in table.rows] == [True, True, False]
    assert table.title == "Latent units: 2 of 3 active"
    for row in table.rows:
        loc = weights[row["unit"]] * X[:, row["unit"]].astype(float)
        kl = 0.5 * (0.25 + loc**2 - 1) - np.log(0.5)
        assert row["kl"] == pytest.approx(kl.mean(), rel=1e-4)
        assert row["variance"] == pytest.approx(loc.var(), rel=1e-3, abs=1e-6)


def test_units_that_do_not_factorise_have_no_divergence_of_their_own():
    def guide(x):
        return dist.MultivariateNormal(x, jnp.eye(3))

    assert {row["kl"] for row in unit_table(model(guide), X).rows} == {None}


@pytest.mark.parametrize(
    ("weights", "warns"), [((1, 1, 1), False), ((1, 1, 0), False), ((1, 0, 0), True)]
)
def test_a_person_is_warned_where_most_units_are_idle(weights, warns):
    warning = collapse_warning(unit_table(model(weighted(*map(float, weights))), X))
    assert (warning is not None) == warns
    assert not warns or warning.startswith("posterior collapse: 1 of 3 latent units")
