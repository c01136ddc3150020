"""Laws of planar maps: inverse, Jacobian, gradients of both ways, total probability."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro.distributions import Normal, TransformedDistribution

from bayes_jax.transports import Planar, PlanarWeights


def weights(seed, dim=3, spread=1.5):
    keys = jax.random.split(jax.random.key(seed), 3)
    shapes = (dim,), (dim,), ()
    return PlanarWeights(
        *(spread * jax.random.normal(key, shape) for key, shape in zip(keys, shapes, strict=True))
    )


Z = 2 * jax.random.normal(jax.random.key(9), (50, 3))


@pytest.mark.parametrize("seed", range(5))
def test_inverse_and_jacobian(seed):
    flow = Planar(weights(seed))
    y = flow(Z)
    np.testing.assert_allclose(flow._inverse(y), Z, atol=2e-4)
    expected = np.linalg.slogdet(np.asarray(jax.vmap(jax.jacobian(flow))(Z), np.float64))[1]
    np.testing.assert_allclose(flow.log_abs_det_jacobian(Z, y), expected, atol=1e-3)
    assert float(jnp.max(jnp.abs(y - Z))) > 0.1


def test_a_push_against_the_gauge_is_turned_until_the_map_is_one_to_one():
    gauge = jnp.array([3.0, 0.0, 0.0])
    flow = Planar(PlanarWeights(-5 * gauge, gauge, jnp.float32(0.0)))
    line = jnp.linspace(-2, 2, 101)[:, None] * jnp.array([1.0, 0.0, 0.0])
    y = flow(line)
    assert np.all(np.diff(np.asarray(y)[:, 0]) > 0)
    assert np.all(np.isfinite(flow.log_abs_det_jacobian(line, y)))
    np.testing.assert_allclose(flow._inverse(y), line, atol=2e-3)

    def back(weights):
        return jnp.sum(Planar(weights)._inverse(y))

    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(jax.grad(back)(flow.weights)))


def test_no_weights_are_the_identity():
    flow = Planar(PlanarWeights(jnp.zeros(3), jnp.zeros(3), jnp.float32(0.0)))
    np.testing.assert_allclose(flow(Z), Z, atol=1e-6)
    np.testing.assert_allclose(flow.log_abs_det_jacobian(Z, Z), 0, atol=1e-6)


def test_gradients_of_the_way_back_are_those_of_finite_differences():
    """To the point and to the weights: the root is found by halving, which has no derivative."""
    start, direction = weights(2, spread=0.7), weights(5)

    def back(shift, weights):
        return jnp.sum(jnp.sin(Planar(weights)._inverse(Z[:5] + shift)))

    slope = jax.grad(back, (0, 1))(0.0, start)
    along = sum(
        jnp.vdot(a, b)
        for a, b in zip(jax.tree.leaves(slope[1]), jax.tree.leaves(direction), strict=True)
    )
    step = 1e-2

    def moved(sign):
        return jax.tree.map(lambda a, b: a + sign * step * b, start, direction)

    numeric = (back(0.0, moved(1)) - back(0.0, moved(-1))) / (2 * step)
    np.testing.assert_allclose(along, numeric, rtol=0.02, atol=0.02)
    numeric = (back(step, start) - back(-step, start)) / (2 * step)
    np.testing.assert_allclose(slope[0], numeric, rtol=0.02, atol=0.02)


def test_the_way_back_has_second_derivatives():
    """Those of a prior made of planar maps, from which annealing takes its coordinates."""
    with jax.enable_x64(True):
        flow = Planar(jax.tree.map(lambda leaf: leaf.astype(jnp.float64), weights(2, spread=0.7)))
        y = jnp.asarray([0.4, -0.3, 0.8], jnp.float64)

        def back(y):
            return jnp.sum(jnp.sin(flow._inverse(y)))

        step = 1e-5 * jnp.eye(3)
        numeric = [(jax.grad(back)(y + h) - jax.grad(back)(y - h)) / 2e-5 for h in step]
        np.testing.assert_allclose(jax.hessian(back)(y), jnp.stack(numeric), atol=1e-6)


def test_density_integrates_to_one():
    layers = [Planar(weights(seed, dim=2)) for seed in (3, 4)]
    q = TransformedDistribution(Normal(jnp.zeros(2), 1.0).to_event(1), layers)
    axis = jnp.linspace(-12.0, 12.0, 1201)
    points = jnp.stack(jnp.meshgrid(axis, axis), axis=-1)
    density = np.asarray(jnp.exp(q.log_prob(points)), np.float64)
    np.testing.assert_allclose(density.sum() * float(axis[1] - axis[0]) ** 2, 1, atol=5e-3)
