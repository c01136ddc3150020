"""What the pilot finds: a basis for both ends of the bridge, and steps that weigh nothing."""

import jax
import jax.numpy as jnp
import numpy as np

from bayes_jax.annealing import Settings, joint_basis, make_path, sigmoid_schedule
from bayes_jax.annealing.chains import joint_density
from bayes_jax.annealing.moves import TRANSITIONS


def test_joint_basis_diagonalises_both():
    key_start, key_target = jax.random.split(jax.random.key(5))
    factors = [
        jnp.tril(jax.random.normal(key, (4, 4)), -1) + jnp.diag(jnp.arange(1.0, 5.0))
        for key in (key_start, key_target)
    ]
    basis, precision = joint_basis(*factors)
    inverse = jnp.linalg.inv(basis)
    np.testing.assert_allclose(
        inverse @ factors[0] @ factors[0].T @ inverse.T, np.eye(4), atol=1e-4
    )
    target = inverse @ factors[1] @ factors[1].T @ inverse.T
    np.testing.assert_allclose(target * precision, np.eye(4), atol=1e-3)


def test_joint_basis_keeps_precisions_of_one_beside_enormous_ones():
    """In float32 the eigenvalues of a product would turn negative and every move be rejected."""
    rotation = jnp.linalg.qr(jax.random.normal(jax.random.key(8), (8, 8)))[0]
    scales = jnp.where(jnp.arange(8) < 4, 1.0, 1e-4)
    upper = jnp.linalg.qr((rotation * scales).T)[1]  # target covariance is upperᵀ upper
    target = (upper * jnp.sign(jnp.diagonal(upper))[:, None]).T
    for factor in (jnp.diag(scales), target):
        precision = np.sort(np.asarray(joint_basis(jnp.eye(8), factor)[1]))
        assert np.all(precision > 0)
        np.testing.assert_allclose(precision[4:], 1e8, rtol=0.2)
    np.testing.assert_allclose(
        np.sort(np.asarray(joint_basis(jnp.eye(8), jnp.diag(scales))[1]))[:4], 1, rtol=0.02
    )


def test_steps_reach_their_acceptance_from_start_to_posterior(linear_case):
    """Chains that stand in f_0 and in f_1, at exact draws, under the step that the table gives."""
    model, settings, x = linear_case.model, Settings(), linear_case.x[0]
    density, hmc = joint_density(model, x), TRANSITIONS["hmc"]
    betas = sigmoid_schedule(100)
    path = make_path(
        jax.random.key(6), model, density, x, guide=None, betas=betas, settings=settings
    )
    target = hmc.target(density, path.start)
    noise = jax.random.normal(jax.random.key(7), (500, 2))
    factor = jnp.linalg.cholesky(linear_case.covariance[0])
    for beta, z in ((0.0, noise), (1.0, linear_case.mean[0] + noise @ factor.T)):
        beta = jnp.float32(beta)
        moved = hmc.move(
            jax.random.key(8),
            target,
            path,
            jax.vmap(target.start)(z),
            beta,
            path.step_size(beta),
            settings.num_leapfrogs,
        )
        assert 0.6 < float(jnp.mean(moved.accept_prob)) < 0.99
