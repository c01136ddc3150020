"""A flow's exact map whitens: where the flow is the posterior, chains move in a standard normal."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from jax.tree_util import Partial

from bayes_jax import InputError, LatentModel, diagnose, log_joint, sample_posterior
from bayes_jax.transports import AffineCoupling, ConditionerWeights

# Bent so far that no affine map makes it round.
WEIGHTS = ConditionerWeights(
    hidden=jnp.array([[2.0], [-2.0]]),
    hidden_bias=jnp.array([-1.0, -1.0]),
    out=jnp.array([[[6.0, 6.0]], [[1.0, -1.0]]]),
    out_bias=jnp.zeros((2, 1)),
)
NUM_X = 4


def bent(weights) -> dist.Distribution:
    base = dist.Normal(jnp.zeros(2), jnp.array([1.0, 0.3])).to_event(1)
    return dist.TransformedDistribution(base, [AffineCoupling(weights)])


def silent(z):
    """x says nothing of z: the posterior is the prior."""
    return dist.Normal(0.0 * z[:1], 1.0).to_event(1)


def knowing(weights, x):
    del x
    return bent(weights)


MODEL, GUIDE = LatentModel(bent(WEIGHTS), silent), Partial(knowing, WEIGHTS)
X = jnp.zeros((NUM_X, 1))


@pytest.fixture(scope="module")
def draws():
    return sample_posterior(jax.random.key(0), MODEL, X, guide=GUIDE, num_samples=400, whiten="map")


def test_draws_are_the_flows(draws):
    """Back through the map they are the base's normals; log p(x, z) is that of z."""
    z = draws.z.reshape(-1, 2)
    noise = np.asarray(jax.vmap(AffineCoupling(WEIGHTS).inv)(z)) / [1.0, 0.3]
    found = diagnose(draws._replace(z=jnp.asarray(noise, jnp.float32).reshape(draws.z.shape)))
    mean = noise.reshape(NUM_X, -1, 2).mean(axis=1)
    assert np.max(np.abs(mean / found.mcse_mean)) < 4
    np.testing.assert_allclose(noise.std(axis=0), 1, atol=0.03)
    assert abs(np.corrcoef(noise.T)[0, 1]) < 0.03
    some = z[::997]
    expected = jax.vmap(lambda z: log_joint(MODEL, z, X[0]))(some)
    np.testing.assert_allclose(draws.log_joint.reshape(-1)[::997], expected, atol=1e-3)


def test_the_map_mixes_where_moments_do_not(draws):
    straight = sample_posterior(jax.random.key(0), MODEL, X, guide=GUIDE, num_samples=400)
    least = [float(jnp.min(diagnose(each).ess_bulk)) for each in (draws, straight)]
    assert least[0] > 0.5 * 16 * 400
    assert least[0] > 2 * least[1]


def test_what_has_no_map_is_named():
    def plain(x):
        del x
        return dist.Normal(jnp.zeros(2), 1.0).to_event(1)

    with pytest.raises(InputError, match="gives a Independent: expected one that gives a flow"):
        sample_posterior(jax.random.key(0), MODEL, X, guide=plain, whiten="map")
    with pytest.raises(InputError, match="there is no guide: expected one that gives a flow"):
        sample_posterior(jax.random.key(0), MODEL, X, whiten="map")
