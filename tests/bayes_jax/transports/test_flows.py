"""Laws that every flow map keeps, over a table of constructors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro.distributions import Normal, TransformedDistribution

from bayes_jax.transports import (
    AffineCoupling,
    Autoregressive,
    initial_autoregressive,
    initial_coupling,
)
from bayes_jax.transports.autoregressive import masks

HIDDEN_DIM = 7
# name -> (initial weights, map)
MAPS = {
    "coupling": (initial_coupling, AffineCoupling),
    "autoregressive": (initial_autoregressive, Autoregressive),
}
each_map = pytest.mark.parametrize("backwards", [False, True])
each_name = pytest.mark.parametrize("name", list(MAPS))


def initial(name, dim, *, backwards):
    make_weights, make_map = MAPS[name]
    weights = make_weights(jax.random.key(0), dim, HIDDEN_DIM)
    return make_map(weights, backwards=backwards)


def wild(name, dim, *, backwards, spread=1.5):
    """A map far from the identity: all weights off by `spread`."""
    flow = initial(name, dim, backwards=backwards)
    leaves, treedef = jax.tree.flatten(flow)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    noisy = [
        leaf + spread * jax.random.normal(key, leaf.shape)
        for leaf, key in zip(leaves, keys, strict=True)
    ]
    return jax.tree.unflatten(treedef, noisy)


@each_map
@each_name
@pytest.mark.parametrize("dim", [1, 2, 5])
def test_inverse_and_jacobian(name, dim, backwards):
    flow = wild(name, dim, backwards=backwards)
    z = jax.random.normal(jax.random.key(2), (20, dim))
    y = flow(z)
    assert float(jnp.max(jnp.abs(y - z))) > 0.3
    np.testing.assert_allclose(flow._inverse(y), z, atol=1e-4)
    expected = np.linalg.slogdet(np.asarray(jax.vmap(jax.jacobian(flow))(z), np.float64))[1]
    np.testing.assert_allclose(flow.log_abs_det_jacobian(z, y), expected, atol=1e-4)
    assert np.std(expected) > 0.05 or dim == 1


@each_map
@each_name
def test_initial_map_is_the_identity(name, backwards):
    z = jax.random.normal(jax.random.key(2), (20, 3))
    flow = initial(name, 3, backwards=backwards)
    np.testing.assert_array_equal(flow(z), z)
    np.testing.assert_array_equal(flow.log_abs_det_jacobian(z, z), np.zeros(20))
    # And not stuck there: its outputs have gradients.
    gradient = jax.grad(lambda flow: jnp.sum(flow(z) ** 2))(flow).weights.out
    assert bool(jnp.all(jnp.any(gradient != 0, axis=(-2, -1))))


@each_name
def test_density_integrates_to_one(name):
    """Two layers on a grid: the rule of rectangles is exact to rounding for so smooth a density."""
    layers = [wild(name, 2, backwards=backwards, spread=0.7) for backwards in (False, True)]
    q = TransformedDistribution(Normal(jnp.zeros(2), 1.0).to_event(1), layers)
    axis = jnp.linspace(-15.0, 15.0, 1201)
    points = jnp.stack(jnp.meshgrid(axis, axis), axis=-1)
    density = np.asarray(jnp.exp(q.log_prob(points)), np.float64)
    edge = max(density[0].max(), density[-1].max(), density[:, 0].max(), density[:, -1].max())
    assert edge < 1e-6
    np.testing.assert_allclose(density.sum() * float(axis[1] - axis[0]) ** 2, 1, atol=1e-3)


@each_name
def test_maps_cross_vmap_and_jit(name):
    """A batch of weights gives a batch of maps; the direction stays a static part."""
    rows = [wild(name, 3, backwards=True), initial(name, 3, backwards=True)]
    batch = jax.tree.map(lambda *leaves: jnp.stack(leaves), *rows)
    z = jax.random.normal(jax.random.key(2), (3,))
    found = jax.jit(jax.vmap(lambda flow: flow(z)))(batch)
    np.testing.assert_allclose(found, jnp.stack([flow(z) for flow in rows]), atol=1e-6)


@pytest.mark.parametrize("backwards", [False, True])
def test_autoregressive_order(backwards):
    """Output i sees no coordinate after it, and every one before it."""
    jacobian = jax.jacobian(wild("autoregressive", 4, backwards=backwards))(jnp.ones(4))
    order = slice(None, None, -1) if backwards else slice(None)
    jacobian = np.asarray(jacobian)[order, order]
    np.testing.assert_array_equal(np.triu(jacobian, 1), 0)
    assert np.all(jacobian[np.tril_indices(4)] != 0)
    sees, shows = masks(HIDDEN_DIM, 4, backwards=backwards)
    assert sees.shape == shows.T.shape == (HIDDEN_DIM, 4)
