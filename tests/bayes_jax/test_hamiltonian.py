"""The leapfrog is reversible and volume-preserving; a move leaves its target invariant."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bayes_jax.hamiltonian import (
    Point,
    hmc_move,
    identity,
    leapfrog,
    num_noise,
    value_and_gradient,
)

FACTOR = jnp.array([[1.0, 0.0], [0.6, 0.5]])


def skewed_log_density(z):
    """Gumbel times a Gaussian tied to it: not symmetric, log normaliser zero."""
    return -z[0] - jnp.exp(-z[0]) - 0.5 * (z[1] - z[0]) ** 2 - 0.5 * jnp.log(2 * jnp.pi)


def run_leapfrog(position, momentum):
    evaluate = value_and_gradient(skewed_log_density)
    point, momentum = leapfrog(
        evaluate,
        identity,
        Point(position, evaluate(position)),
        momentum,
        factor=FACTOR,
        step_size=jnp.asarray(0.2),
        num_leapfrogs=7,
    )
    return point.position, momentum


def test_leapfrog_run_backwards_returns():
    position, momentum = jnp.array([0.3, -0.8]), jnp.array([1.1, -0.4])
    end, momentum_end = run_leapfrog(position, momentum)
    back, momentum_back = run_leapfrog(end, -momentum_end)
    assert float(jnp.linalg.norm(end - position)) > 0.5
    np.testing.assert_allclose(back, position, atol=1e-5)
    np.testing.assert_allclose(-momentum_back, momentum, atol=1e-5)


def test_leapfrog_preserves_volume():
    def flow(phase):
        return jnp.concatenate(run_leapfrog(phase[:2], phase[2:]))

    jacobian = jax.jacfwd(flow)(jnp.array([0.3, -0.8, 1.1, -0.4]))
    np.testing.assert_allclose(jnp.linalg.det(jacobian), 1.0, rtol=1e-4)


@pytest.mark.parametrize("step_size", [0.3, 1.2])
def test_moves_leave_a_skewed_target_invariant(step_size):
    num_chains = 20_000
    key_start, key_noise, key_moves = jax.random.split(jax.random.key(3), 3)
    gumbel = jax.random.gumbel(key_start, (num_chains,))
    start = jnp.stack([gumbel, gumbel + jax.random.normal(key_noise, (num_chains,))], axis=1)
    evaluate = value_and_gradient(skewed_log_density)

    @jax.vmap
    def chain(key, position):
        def move(point, noise):
            return hmc_move(
                noise,
                evaluate,
                identity,
                point,
                factor=FACTOR,
                step_size=jnp.asarray(step_size),
                num_leapfrogs=4,
            )

        point = Point(position, evaluate(position))
        point, info = jax.lax.scan(move, point, jax.random.normal(key, (5, num_noise(2))))
        return point.position, info.accept_prob

    end, accept = jax.jit(chain)(jax.random.split(key_moves, num_chains), start)
    assert 0.2 < float(accept.mean()) < 0.999
    assert float(jnp.mean(jnp.abs(end - start))) > 0.3
    for statistic in (lambda z: z, lambda z: z**2, lambda z: jnp.exp(-z[:, :1]), jnp.sin):
        values = np.asarray(statistic(end), np.float64)
        truth = _expectations(statistic)
        error = values.std(axis=0, ddof=1) / np.sqrt(num_chains)
        np.testing.assert_array_less(np.abs(values.mean(axis=0) - truth), 4 * error)


def _expectations(statistic):
    """By a grid over the density itself: the oracle knows nothing of the sampler."""
    first, second = np.meshgrid(np.linspace(-4, 25, 2001), np.linspace(-8, 8, 401), indexing="ij")
    points = np.stack([first.ravel(), (first + second).ravel()], axis=1)
    density = np.exp(-points[:, 0] - np.exp(-points[:, 0]) - 0.5 * second.ravel() ** 2)
    values = np.asarray(statistic(jnp.asarray(points)), np.float64)
    return (values * density[:, None]).sum(axis=0) / density.sum()


def test_a_proposal_of_nan_density_is_rejected():
    def log_density(z):
        return jnp.where(z[0] > 0.5, jnp.nan, -0.5 * jnp.sum(z**2))

    evaluate = value_and_gradient(log_density)
    start = jnp.array([0.4, 0.0])
    noises = jax.random.normal(jax.random.key(0), (200, num_noise(2)))
    point, info = jax.vmap(
        lambda noise: hmc_move(
            noise,
            evaluate,
            identity,
            Point(start, evaluate(start)),
            factor=jnp.eye(2),
            step_size=jnp.asarray(1.0),
            num_leapfrogs=3,
        )
    )(noises)
    assert bool(jnp.any(info.diverging))
    assert bool(jnp.all(point.position[:, 0] <= 0.5))
