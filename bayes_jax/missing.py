"""Observations of which parts are missing: p(x_observed), and p(x_missing | x_observed).

A mask is True where x was not observed. What x holds there is never read: it may be NaN. Functions
take ONE x and are pure.
"""

import math
from functools import singledispatch
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax.tree_util import Partial
from jaxtyping import Array, Bool, Float, Num, PRNGKeyArray
from numpyro.distributions import Distribution, constraints

from bayes_jax.errors import InputError
from bayes_jax.model import LatentModel

Observation = Num[Array | np.ndarray, " dim"]
Mask = Bool[Array | np.ndarray, " dim"]

NO_NATS = 1 / (2 * math.pi)
"""A variance: N(0; 0, 1/(2 pi)) = 1, so that an entry at its mean adds nothing to a log density."""


class Conditioned(NamedTuple):
    """A distribution taken apart by a mask.

    Attributes:
        log_prob: log p(x_observed) in nats.
        law: p(x_missing | x_observed) over all of x; entries that were observed add nothing to its
            log density where they are as observed.
    """

    log_prob: Float[Array, "*component"]
    law: Distribution


@singledispatch
def condition(distribution: Distribution, x: Observation, missing: Mask) -> Conditioned:
    """p(x_observed) and p(x_missing | x_observed); other classes can be registered.

    Args:
        distribution: of independent entries (`.to_event(1)`) or a `MultivariateNormal`, event shape
            `[dim]`; its batch shape stays.
        x: one observation.
        missing: its mask.

    Raises:
        InputError: a distribution that has no such parts in closed form.
    """
    raise InputError(
        f"the likelihood is a {type(distribution).__name__}, whose observed part has no density of "
        "its own here: expected independent entries (.to_event(1)) or a MultivariateNormal"
    )


@condition.register
def _(distribution: dist.Independent, x, missing) -> Conditioned:
    entries = distribution.base_dist
    if entries.event_shape or len(distribution.event_shape) != 1:
        raise InputError(
            f"the likelihood has event shape {distribution.event_shape}: expected one vector of "
            "numbers, independent of each other, (dim,)"
        )
    observed = entries.mask(~jnp.asarray(missing)).to_event(1)
    return Conditioned(observed.log_prob(x), entries.mask(jnp.asarray(missing)).to_event(1))


@condition.register
def _(distribution: dist.MultivariateNormal, x, missing) -> Conditioned:
    loc, covariance = distribution.loc, distribution.covariance_matrix
    seen = ~jnp.asarray(missing)
    residual = jnp.where(seen, x - loc, 0)
    among_seen = _block(covariance, seen, seen)
    log_prob = dist.MultivariateNormal(0, among_seen).log_prob(residual)
    across = jnp.where(missing[:, None] & seen, covariance, 0)
    gain = jnp.swapaxes(jnp.linalg.solve(among_seen, jnp.swapaxes(across, -1, -2)), -1, -2)
    loc = jnp.where(seen, x, loc + jnp.einsum("...ij,...j->...i", gain, residual))
    rest = covariance - gain @ jnp.swapaxes(across, -1, -2)
    return Conditioned(log_prob, dist.MultivariateNormal(loc, _block(rest, missing, missing)))


def _block(covariance, rows, columns):
    """The covariance of some entries; all others stand alone and add nothing at their mean."""
    alone = jnp.diag(jnp.where(rows, 0, NO_NATS))
    return jnp.where(rows[:, None] & columns, covariance, 0) + alone


class Completion(Distribution):
    """p(x | x_observed) over the whole of x, where what was observed stays as it was.

    Its log density is that of the missing entries alone: log p(x_missing | x_observed) in nats.

    Attributes:
        law: as in `Conditioned`.
        x: the observation.
        missing: its mask.
    """

    arg_constraints: ClassVar = {}
    pytree_data_fields = ("law", "x", "missing")

    def __init__(self, law: Distribution, x: Observation, missing: Mask, *, validate_args=None):
        """Of a law and what was observed."""
        self.law, self.x, self.missing = law, x, missing
        super().__init__(event_shape=law.event_shape, validate_args=validate_args)

    @property
    def support(self) -> constraints.Constraint:
        """That of the law."""
        return self.law.support

    def sample(self, key: PRNGKeyArray, sample_shape: tuple[int, ...] = ()) -> Num[Array, "..."]:
        """Whole observations."""
        return self._completed(self.law.sample(key, sample_shape))

    def log_prob(self, value: Num[Array | np.ndarray, "... dim"]) -> Float[Array, "..."]:
        """log p(x_missing | x_observed) of the missing entries of `value`."""
        return self.law.log_prob(self._completed(value))

    @property
    def mean(self) -> Float[Array, " dim"]:
        """E[x | x_observed]."""
        return self._completed(self.law.mean)

    def _completed(self, value):
        return jnp.where(self.missing, value, self.x)


def complete(distribution: Distribution, x: Observation, missing: Mask) -> Completion:
    """What of a distribution is left to be known once x was observed in part.

    Args:
        distribution: as in `condition`, batch shape `()`.
        x: one observation.
        missing: its mask.

    Raises:
        InputError: as `condition`.
    """
    return Completion(condition(distribution, x, missing).law, x, missing)


class ObservedPart(Distribution):
    """p(x_observed), of which the pair `(x, missing)` is ONE observation.

    Attributes:
        whole: p(x), as in `condition`.
    """

    arg_constraints: ClassVar = {}
    pytree_data_fields = ("whole",)

    def __init__(self, whole: Distribution, *, validate_args=None):
        """Of the distribution of whole observations."""
        self.whole = whole
        super().__init__(validate_args=validate_args)

    @property
    def support(self) -> "_InPart":
        """Pairs whose observed entries the whole allows."""
        return _InPart(self.whole.support)

    def log_prob(self, value: tuple[Observation, Mask]) -> Float[Array, ""]:
        """log p(x_observed) in nats."""
        x, missing = value
        return condition(self.whole, x, missing).log_prob


class _InPart(constraints.Constraint):
    def __init__(self, base_constraint):
        self.base_constraint = getattr(base_constraint, "base_constraint", base_constraint)

    def __call__(self, value):
        x, missing = value
        filled = jnp.where(missing, self.base_constraint.feasible_like(x), x)
        return jnp.all(self.base_constraint(filled))


def observed_part(model: LatentModel) -> LatentModel:
    """p(z) p(x_observed | z): a model of pairs `(x, missing)`, for every engine.

    Args:
        model: p(z) p(x | z), whose likelihood `condition` takes apart.

    Returns:
        The model. One observation is x `[dim]` and its mask `[dim]`; a batch may mix masks.
    """
    return LatentModel(model.prior, Partial(_observed, model.likelihood))


def _observed(likelihood, z) -> ObservedPart:
    return ObservedPart(likelihood(z))


def check_missing(
    x: Num[Array | np.ndarray, "..."],
    missing: Array | np.ndarray,
    model: LatentModel | None = None,
) -> None:
    """Refuse masks that do not belong to a batch x.

    All of an x may be missing: what is left to know is then p(x) itself.

    Args:
        x: `[batch, dim]`.
        missing: `[batch, dim]`, bool.
        model: whose dim x should have, compilable.

    Raises:
        InputError: another shape or dtype, or masks under which nothing is missing.
    """
    dim = "dim" if model is None else _dim(model)
    if x.ndim != 2 or 0 in x.shape or dim not in ("dim", x.shape[1]):
        raise InputError(f"x has shape {x.shape}: expected [batch, {dim}]")
    if missing.shape != x.shape or missing.dtype != bool:
        raise InputError(
            f"missing is {missing.dtype} of shape {missing.shape}: expected bool of x's shape "
            f"{x.shape}, True where an entry was not observed"
        )
    if not missing.any():
        raise InputError("nothing is missing: expected a mask that is True somewhere")


def _dim(model) -> int:
    return math.prod(jax.eval_shape(_some_likelihood, model).event_shape)


def _some_likelihood(model) -> Distribution:
    return model.likelihood(model.prior.sample(jax.random.key(0)))
