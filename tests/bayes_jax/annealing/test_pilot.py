"""What the pilot finds: a basis for both ends of the bridge, and steps that weigh nothing."""

import jax
import jax.numpy as jnp
import numpy as np

from bayes_jax.annealing import joint_basis


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
