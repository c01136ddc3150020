"""What each latent unit carries, against closed forms."""

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

from bayes_jax import InputError
from vae_jax import objectives

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
