"""The bridge of ONE x from a start distribution to its posterior, fixed before a chain walks it."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Float, Int, PRNGKeyArray
from numpyro.distributions import Distribution

from bayes_jax.errors import InputError
from bayes_jax.noise import independent_draws

# Products of the precision that accelerators default to would leave q0 not quite normalised, and
# its draws not those of its density.
_exact_products = jax.default_matmul_precision("highest")

# Log densities of a prior and of the Gaussian of its moments agree to this, if it is that Gaussian.
_GAUSSIAN_TOLERANCE = 1e-3


class GaussianStart(NamedTuple):
    """N(loc, factor factorᵀ) with the inverse at hand.

    NumPyro's MultivariateNormal solves a triangular system in each density and gradient, which for
    small decoders costs as much as the decoder.

    Attributes:
        loc: `[latent]`.
        factor: lower triangular, `[latent, latent]`.
        inverse: of the factor.
    """

    loc: Float[Array, " latent"]
    factor: Float[Array, "latent latent"]
    inverse: Float[Array, "latent latent"]

    @_exact_products
    def sample(self, key: PRNGKeyArray) -> Float[Array, " latent"]:
        """One exact draw."""
        return self.loc + self.factor @ jax.random.normal(key, self.loc.shape, self.loc.dtype)

    @_exact_products
    def log_prob(self, z: Float[Array, " latent"]) -> Float[Array, ""]:
        """The normalised log density in nats."""
        noise = self.inverse @ (z - self.loc)
        log_determinant = jnp.sum(jnp.log(jnp.diagonal(self.factor)))
        return -0.5 * jnp.sum(noise**2 + jnp.log(2 * jnp.pi)) - log_determinant


class Path(NamedTuple):
    """The bridge log f_beta = (1 - beta) log q0 + beta log p(x, z), with all it takes to walk it.

    Attributes:
        start: q0, normalised, with exact draws.
        betas: inverse temperatures in the order of the walk: from 0 to 1, reversed from 1 to 0,
            `[step]`.
        basis: `[latent, latent]`, turns q0 into the identity and the target into a diagonal.
        precision: the target's precisions in that basis, `[latent]`.
        knots: inverse temperatures of the table of steps, rising from 0 to 1, `[knot]`.
        log_step: log step size at the knots, `[knot]`.
        num_grads: gradients of log p(x, z) that were spent on finding it.
    """

    start: Distribution | GaussianStart
    betas: Float[Array, " step"]
    basis: Float[Array, "latent latent"]
    precision: Float[Array, " latent"]
    knots: Float[Array, " knot"]
    log_step: Float[Array, " knot"]
    num_grads: Int[Array, ""]

    def reversed(self) -> "Path":
        """The same bridge, walked from the posterior back to q0."""
        return self._replace(betas=self.betas[::-1])

    def factor(self, beta: Float[Array, ""]) -> Float[Array, "latent latent"]:
        """Preconditioner at beta: precisions interpolate, as along a path between two Gaussians."""
        return self.basis / jnp.sqrt(1 - beta + beta * self.precision)

    def step_size(self, beta: Float[Array, ""]) -> Float[Array, ""]:
        """Read off the table: a function of beta and of nothing a chain does."""
        return jnp.exp(jnp.interp(beta, self.knots, self.log_step))


@_exact_products
def gaussian_start(
    loc: Float[Array, " latent"], factor: Float[Array, "latent latent"]
) -> GaussianStart:
    """N(loc, factor factorᵀ) from a lower triangular factor."""
    identity = jnp.eye(len(loc), dtype=factor.dtype)
    return GaussianStart(loc, factor, solve_triangular(factor, identity, lower=True))


def gaussian_prior(prior: Distribution) -> GaussianStart:
    """A Gaussian prior as a `GaussianStart`; `check_gaussian` says whether it is one."""
    covariance = getattr(prior, "covariance_matrix", None)
    factor = jnp.diag(jnp.sqrt(prior.variance)) if covariance is None else None
    return gaussian_start(prior.mean, jnp.linalg.cholesky(covariance) if factor is None else factor)


def check_gaussian(prior: Distribution) -> None:
    """Refuse a prior that is not the Gaussian of its own moments, of whatever class it is.

    Raises:
        InputError: elliptical moves are exact for Gaussian starts only.
    """
    problem = InputError(
        f"the prior ({type(prior).__name__}) is not Gaussian: elliptical moves need a Gaussian "
        "start; take transition='hmc', or a guide"
    )
    try:
        start = gaussian_prior(prior)
    except NotImplementedError:
        raise problem from None
    z = independent_draws(jax.random.key(0), prior, 8)
    difference = jax.vmap(lambda z: start.log_prob(z) - prior.log_prob(z))(z)
    scale = 1 + jnp.abs(jax.vmap(prior.log_prob)(z))
    if not bool(jnp.all(jnp.abs(difference) < _GAUSSIAN_TOLERANCE * scale)):
        raise problem
