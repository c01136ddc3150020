"""What each latent unit carries, against closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

from bayes_jax import InputError
from vae_jax import objectives
from vae_jax.objectives import units

LOC, SCALE = np.array([0.5, -1.0, 0.0]), np.array([0.3, 1.0, 2.0])
POSTERIOR = dist.Normal(jnp.asarray(LOC), jnp.asarray(SCALE)).to_event(1)
PRIOR = dist.Normal(jnp.zeros(3), 1.0).to_event(1)


def test_kl_per_unit_is_each_units_own():
    expected = 0.5 * (SCALE**2 + LOC**2 - 1) - np.log(SCALE)
    np.testing.assert_allclose(objectives.kl_per_unit(POSTERIOR, PRIOR), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("posterior", "prior"),
    [
        (dist.MultivariateNormal(jnp.zeros(3), jnp.eye(3)), PRIOR),
        (POSTERIOR, dist.MultivariateNormal(jnp.zeros(3), jnp.eye(3))),
        (dist.Uniform(jnp.zeros(3), 1.0).to_event(1), PRIOR),
    ],
)
def test_units_without_a_divergence_of_their_own_are_refused(posterior, prior):
    with pytest.raises(InputError, match="independent over units"):
        objectives.kl_per_unit(posterior, prior)


def test_active_units_are_those_whose_mean_moves_with_x():
    spread = jnp.array([1.0, 0.099, 0.101, 0.0])  # standard deviations over x; the threshold is 0.1

    def guide(x):
        return dist.Normal(spread * x + 5.0, 1.0).to_event(1)

    x = jnp.where(jnp.arange(100) % 2, 1.0, -1.0)
    assert objectives.active_units(guide, x) == 2
    assert objectives.active_units(guide, x, threshold=1e-3) == 3


def test_a_split_is_summed_up_as_the_units_say():
    spread = jnp.array([1.0, 0.099, 0.101, 0.0])
    prior = dist.Normal(jnp.zeros(4), 1.0).to_event(1)

    def guide(x):
        return dist.Normal(spread * x + 0.5, 0.8).to_event(1)

    x = jnp.where(jnp.arange(100) % 2, 1.0, -1.0)
    terms = jax.vmap(lambda x: units.unit_terms(guide(x), prior))(x)
    found = units.summarise({"elbo": np.arange(100.0), **jax.tree.map(np.asarray, terms)})
    assert set(found) == {"elbo", "unit_kl", "active_units", "collapsed"}
    assert found["elbo"] == 49.5
    assert found["active_units"] == objectives.active_units(guide, x) == 2
    assert found["collapsed"] is False
    assert [units.is_collapsed(num, 5) for num in (2, 3)] == [True, False]
    variance = 0.8**2 + 0.5**2 + np.asarray(spread) ** 2
    np.testing.assert_allclose(found["unit_kl"], 0.5 * (variance - 1) - np.log(0.8), rtol=1e-5)


def test_units_that_do_not_factorise_still_have_means():
    posterior = dist.MultivariateNormal(jnp.arange(3.0), jnp.eye(3))
    assert set(units.unit_terms(posterior, PRIOR)) == {"unit_mean"}
