"""Maps that whiten a target: NumPyro transforms over plain arrays, made from draws.

Whitening takes the mean and covariance of draws, whatever they are drawn from (a diagonal guide, a
flow, the chains themselves), so that no engine asks for a distribution's family.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float
from numpyro.distributions.transforms import LowerCholeskyAffine

# Relative to the variances: keeps the Cholesky factor of a covariance of few draws finite.
RELATIVE_JITTER = 1e-5
# Below this many draws per dimension the off-diagonal of their covariance is mostly noise.
SHRINKAGE_DRAWS = 2.0


def affine_from_draws(draws: Float[Array, "draw latent"]) -> LowerCholeskyAffine:
    """The affine map of N(0, I) onto the draws: e -> loc + scale_tril e, their mean and covariance.

    The correlations are shrunk towards zero as n / (n + 2 latent), with n the number of draws, so
    that few draws give a diagonal map rather than a noisy full one.

    Args:
        draws: at least two vectors.

    Returns:
        A NumPyro transform with `loc [latent]` and `scale_tril [latent, latent]`.
    """
    num_draws, dim = draws.shape
    loc = jnp.mean(draws, axis=0)
    centred = draws - loc
    covariance = centred.T @ centred / (num_draws - 1)
    return LowerCholeskyAffine(loc, shrunk_cholesky(covariance, num_draws / dim))


def shrunk_cholesky(
    covariance: Float[Array, "latent latent"], draws_per_dim: float | Float[Array, ""]
) -> Float[Array, "latent latent"]:
    """Cholesky factor of a covariance with its correlations shrunk for the few draws behind it.

    NaN where a variance is zero: no scale is made up.
    """
    weight = draws_per_dim / (draws_per_dim + SHRINKAGE_DRAWS)
    diagonal = jnp.diag(jnp.diagonal(covariance) * (1 - weight + RELATIVE_JITTER))
    return jnp.linalg.cholesky(weight * covariance + diagonal)
