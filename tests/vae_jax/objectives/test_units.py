"""What each latent unit carries, against closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from numpyro.distributions.transforms import AffineTransform

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
    terms = jax.vmap(lambda x: units.unit_terms(jax.random.key(0), guide(x), prior))(x)
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
    terms = units.unit_terms(jax.random.key(0), posterior, PRIOR)
    assert set(terms) == {"unit_mean", "unit_noise"}
    np.testing.assert_array_equal(terms["unit_mean"], jnp.arange(3.0))
    np.testing.assert_array_equal(terms["unit_noise"], 0)


def test_the_noise_of_draws_makes_no_unit_of_a_flow_active():
    """Each mean of 16 wide draws moves by far more than the threshold, and nothing by x."""
    spread = jnp.array([0.0, 0.3])

    def flow(x):
        base = dist.Normal(spread * x, 1.0).to_event(1)
        return dist.TransformedDistribution(base, [AffineTransform(0.5, 2.0)])

    x = jnp.where(jnp.arange(4000) % 2, 1.0, -1.0)
    keys = jax.random.split(jax.random.key(1), len(x))
    terms = jax.vmap(lambda key, x: units.unit_terms(key, flow(x), PRIOR))(keys, x)
    assert np.all(np.var(terms["unit_mean"], axis=0) > 10 * units.ACTIVE_VARIANCE)
    found = units.summarise({"elbo": np.zeros(len(x)), **jax.tree.map(np.asarray, terms)})
    assert found["active_units"] == 1
    exact = np.var(terms["unit_mean"], axis=0) - np.mean(terms["unit_noise"], axis=0)
    np.testing.assert_allclose(exact, [0, 0.36], atol=0.03)
