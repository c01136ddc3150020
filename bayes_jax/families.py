"""Families of distributions over z, each made from parameters: in which q* is sought.

A family is a pair of functions: `init` makes parameters from the distribution a fit starts at, and
`constrain` makes a NumPyro distribution of them. What `constrain` spans is the family, a guide's
family too. Parameters here are standardised by where they start, so that one learning rate serves
every x and every latent.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, PyTree
from numpyro.distributions import (
    Distribution,
    Independent,
    MultivariateNormal,
    Normal,
    TransformedDistribution,
)
from numpyro.distributions.transforms import LowerCholeskyAffine

from bayes_jax.errors import InputError
from bayes_jax.noise import independent_draws
from bayes_jax.transports import AffineCoupling, affine_from_draws, initial_coupling

FamilyName = Literal["mean_field", "full_rank", "flow"]
NUM_START_DRAWS = 1000
# Flows rise for long by little: at 100 they gave up a third of what they win over a Gaussian.
FLOW_PATIENCE = 300


class Family(NamedTuple):
    """A family of distributions over z; make it of module-level functions, once, not in a loop.

    Attributes:
        init: `(key, start) -> params`, with `start` the distribution a fit begins at (the guide's
            q(z | x), else the prior): params whose distribution is it, or as near as may be.
        constrain: `params -> Distribution`, with `sample` reparameterised and `log_prob`.
        moments: `params -> (mean [latent], covariance [latent, latent])` where they have a closed
            form; None where they are those of draws.
        patience: steps without a rise of the ELBO after which a fit stops (`bayes_jax.ascent`).
    """

    init: Callable[[PRNGKeyArray, Distribution], PyTree]
    constrain: Callable[[PyTree], Distribution]
    moments: Callable[[PyTree], tuple[Array, Array]] | None = None
    patience: int = 100


class Anchor(NamedTuple):
    """Mean and covariance factor of where a fit starts; parameters are relative to it."""

    loc: Float[Array, " latent"]
    scale_tril: Float[Array, "latent latent"]


def find_family(family: str | Family) -> Family:
    """The family of a name, or the family itself.

    Raises:
        InputError: on an unknown name.
    """
    found = FAMILIES.get(family) if isinstance(family, str) else family
    if not isinstance(found, Family):
        raise InputError(f"family is {family!r}: expected a Family or one of {', '.join(FAMILIES)}")
    return found


def family_of(q: Distribution) -> Family:
    """The family that a guide's q(z | x) is a member of.

    Of a flow over a diagonal Gaussian (a TransformedDistribution), base AND all weights of its maps
    are refitted for each x: what an encoder could reach that put them all out.

    Args:
        q: a distribution, or its shapes from `jax.eval_shape`.

    Returns:
        "mean_field", "full_rank", or the flow's own.

    Raises:
        InputError: any other distribution, which says not how it is made of parameters.
    """
    if isinstance(q, MultivariateNormal):
        return FAMILIES["full_rank"]
    if _is_diagonal_normal(q):
        return FAMILIES["mean_field"]
    if isinstance(q, TransformedDistribution) and _is_diagonal_normal(q.base_dist):
        return _REFITTED_FLOW
    raise InputError(
        f"the guide's q(z | x) is a {type(q).__name__}: expected a Gaussian or a flow over a "
        "diagonal one, or a family= whose constrain spans the guide's"
    )


def _is_diagonal_normal(q) -> bool:
    return isinstance(q, Normal) or (
        isinstance(q, Independent) and _is_diagonal_normal(q.base_dist)
    )


def make_flow(num_layers: int = 4, hidden_dim: int = 16) -> Family:
    """Affine couplings between N(0, I) and the affine map of `full_rank`, which it contains.

    Starts as the identity on top of the Gaussian that `full_rank` starts at. The weights are those
    of one x: each fit begins with the same random features and refits all weights to its x, and
    nothing is shared between observations. In one dimension there is nothing to couple, and the
    family is Gaussian.

    Args:
        num_layers: couplings, alternating which half of z moves.
        hidden_dim: hidden units of each.

    Returns:
        The same object for the same sizes, so that engines compile once.

    References:
        Rezende, Mohamed 2015, *Variational inference with normalizing flows*, arXiv 1505.05770.
    """
    return _make_flow(num_layers, hidden_dim)


@lru_cache
def _make_flow(num_layers, hidden_dim):
    def init(key, start):
        key_start, key_flow = jax.random.split(key)
        params = _full_rank_init(key_start, start)
        dim = params["shift"].shape[0]
        keys = jax.random.split(key_flow, num_layers)
        return {**params, "couplings": [initial_coupling(k, dim, hidden_dim) for k in keys]}

    def constrain(params):
        gaussian = _full_rank_constrain(params)
        couplings = [
            AffineCoupling(weights, backwards=bool(layer % 2))
            for layer, weights in enumerate(params["couplings"])
        ]
        affine = LowerCholeskyAffine(gaussian.loc, gaussian.scale_tril)
        standard = Normal(jnp.zeros_like(gaussian.loc), 1.0).to_event(1)
        return TransformedDistribution(standard, [*couplings, affine])

    return Family(init, constrain, patience=FLOW_PATIENCE)


def _refitted_init(key, start):
    base = start.base_dist
    return {"base": _mean_field_init(key, base), "maps": list(start.transforms)}


def _refitted_constrain(params):
    return TransformedDistribution(_mean_field_constrain(params["base"]), params["maps"])


def _mean_field_init(key, start):
    anchor = _anchor(key, start)
    scale = jnp.linalg.norm(anchor.scale_tril, axis=-1)
    loc, stated_scale = _stated_moments(start, anchor.loc, scale)
    return {
        "anchor": anchor,
        "shift": (loc - anchor.loc) / scale,
        "log_stretch": jnp.log(stated_scale / scale),
    }


def _mean_field_constrain(params):
    anchor = jax.lax.stop_gradient(params["anchor"])
    scale = jnp.linalg.norm(anchor.scale_tril, axis=-1)
    loc = anchor.loc + scale * params["shift"]
    return Normal(loc, scale * jnp.exp(params["log_stretch"])).to_event(1)


def _mean_field_moments(params):
    q = _mean_field_constrain(params)
    return q.mean, jnp.diag(q.variance)


def _full_rank_init(key, start):
    anchor = _anchor(key, start)
    zeros = jnp.zeros_like(anchor.loc)
    lower = jnp.zeros_like(anchor.scale_tril)
    return {"anchor": anchor, "shift": zeros, "log_stretch": zeros, "lower": lower}


def _full_rank_constrain(params):
    loc, scale_tril = jax.lax.stop_gradient(params["anchor"])
    stretch = jnp.diag(jnp.exp(params["log_stretch"])) + jnp.tril(params["lower"], -1)
    return MultivariateNormal(loc + scale_tril @ params["shift"], scale_tril=scale_tril @ stretch)


def _full_rank_moments(params):
    q = _full_rank_constrain(params)
    return q.mean, q.covariance_matrix


def _anchor(key, start) -> Anchor:
    whitening = affine_from_draws(independent_draws(key, start, NUM_START_DRAWS))
    return Anchor(whitening.loc, whitening.scale_tril)


def _stated_moments(start, loc, scale):
    """Mean and standard deviation as the distribution states them, else those of its draws."""
    try:
        stated_loc, stated_scale = start.mean, jnp.sqrt(start.variance)
    except NotImplementedError:
        return loc, scale
    finite = jnp.isfinite(stated_loc) & jnp.isfinite(stated_scale)
    return jnp.where(finite, stated_loc, loc), jnp.where(finite, stated_scale, scale)


FAMILIES: dict[FamilyName, Family] = {
    "mean_field": Family(_mean_field_init, _mean_field_constrain, _mean_field_moments),
    "full_rank": Family(_full_rank_init, _full_rank_constrain, _full_rank_moments),
    "flow": make_flow(),
}

_REFITTED_FLOW = Family(_refitted_init, _refitted_constrain, patience=FLOW_PATIENCE)
