"""The posterior of one x as a Distribution with exact draws, from a lattice of quadrature.

Draws are made by rejection (von Neumann 1951, "Various techniques used in connection with random
digits"): a cell of the lattice is chosen with probability proportional to its envelope, a bound on
p(x, z) inside the cell, z is uniform in the cell, and is kept with probability p(x, z) / envelope.
So draws are points of R^latent and not of the lattice, and how fine the lattice is decides how many
are rejected, not what is drawn.

The envelope is a Taylor bound of second order with the curvature's own size as room for what it
leaves out: not proven, but checked at every proposal. What else separates the draws from exact ones
is the mass outside the lattice, at most `GridPosterior.error`, and rounding.
"""

import math

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jaxtyping import Array, Bool, Float, PRNGKeyArray, PyTree
from numpyro.distributions import constraints

from bayes_jax.exact import quadrature
from bayes_jax.model import LatentModel, log_joint

#: Nats by which float32 may lift a density above its envelope, unseen.
_ROUNDING = 1e-3

#: Rounds of proposals before giving up: lattices fine enough for the evidence need about twenty.
_MOST_ROUNDS = 1000


class LatticePosterior(dist.Distribution):
    """p(z | x) of ONE x, for a model with at most three latent dimensions.

    `log_prob` is log p(x, z) - log p(x); `sample` is by rejection, has no gradient, and gives NaN
    rather than draws that are not exact. Build it inside the function that is vmapped over x.

    Args:
        model: the model.
        x: one observation.
        **options: those of `quadrature.posterior`.

    Attributes:
        grid: the posterior on the lattice.

    Example:
        >>> model = LatentModel(dist.Normal(jnp.zeros(2), 1.0).to_event(1), likelihood)
        >>> LatticePosterior(model, x).sample(jax.random.key(0), (1000,)).shape
        (1000, 2)
    """

    support = constraints.real_vector
    pytree_data_fields = ("model", "x", "grid")

    def __init__(self, model: LatentModel, x: PyTree, **options):
        self.model, self.x = model, x
        self.grid = quadrature.posterior(model, x, **options)
        super().__init__(event_shape=self.grid.mean.shape)

    def log_prob(self, value: Float[Array, "*shape latent"]) -> Float[Array, "*shape"]:
        """log p(z | x) in nats."""
        values = self._log_joint(value.reshape(-1, value.shape[-1]))
        return values.reshape(value.shape[:-1]) - self.grid.log_evidence

    def sample(
        self, key: PRNGKeyArray, sample_shape: tuple[int, ...] = ()
    ) -> Float[Array, "*shape latent"]:
        """Independent draws; NaN if the density was found above its envelope, or far below it."""
        num = math.prod(sample_shape)
        log_envelope = self._log_envelope()
        cumulative = jnp.cumsum(jax.nn.softmax(log_envelope))

        def attempt(state):
            z, pending, _, count = state
            level, threshold, *place = self._uniforms(jax.random.fold_in(key, count), num)
            cell = jnp.searchsorted(cumulative, cumulative[-1] * level, side="right")
            offset = jnp.stack(place, axis=-1) - 0.5
            proposed = self.grid.points[cell] + self.grid.spacing * offset
            log_accept = self._log_joint(proposed) - log_envelope[cell]
            kept = pending & (jnp.log(threshold) < log_accept)
            z = jnp.where(kept[:, None], proposed, z)
            return z, pending & ~kept, jnp.all(log_accept < _ROUNDING), count + 1

        def unfinished(state) -> Bool[Array, ""]:
            return jnp.any(state[1]) & state[2] & (state[3] < _MOST_ROUNDS)

        start = (jnp.zeros((num, *self.event_shape)), jnp.ones(num, bool), jnp.array(True), 0)
        z, pending, below_envelope, _ = jax.lax.while_loop(unfinished, attempt, start)
        # All or none: the draws that were quick to be kept are no fair sample.
        is_exact = below_envelope & ~jnp.any(pending)
        return jnp.where(is_exact, z, jnp.nan).reshape(sample_shape + self.event_shape)

    @property
    def mean(self) -> Float[Array, " latent"]:
        """E[z | x], by quadrature."""
        return self.grid.mean

    @property
    def variance(self) -> Float[Array, " latent"]:
        """Var[z | x], by quadrature."""
        return jnp.diagonal(self.grid.covariance)

    @property
    def covariance_matrix(self) -> Float[Array, "latent latent"]:
        """Cov[z | x], by quadrature."""
        return self.grid.covariance

    def _log_joint(self, z) -> Float[Array, " num"]:
        return jax.vmap(lambda z: log_joint(self.model, z, self.x))(z)

    def _uniforms(self, key, num) -> Float[Array, "which num"]:
        """For the cell, for the decision, and for the place in the cell along each axis."""
        which = 2 + self.event_shape[0]
        return jax.random.uniform(key, (which * num,)).reshape(which, num)

    def _log_envelope(self) -> Float[Array, " point"]:
        """A bound on log p(x, z) in each cell: its value, slope and curvature at the centre.

        Over offsets of at most half a side h, the slope g adds at most |g|'h / 2 and the curvature
        H at most h'|H|h / 8; twice that leaves room for a curvature that changes.
        """
        side = self.grid.spacing

        def bound(z):
            def density(z):
                return log_joint(self.model, z, self.x)

            value, slope = jax.value_and_grad(density)(z)
            curvature = jnp.abs(jax.hessian(density)(z))
            return value + jnp.abs(slope) @ side / 2 + side @ curvature @ side / 4

        return jax.lax.map(bound, self.grid.points, batch_size=512)
