"""What every engine takes and every family gives: models as pairs of NumPyro distributions.

A `LatentModel` is p(x, z) = p(z) p(x | z) with p(z) a `Distribution` over a vector z and p(x | z) a
function of ONE z. It is a pytree, so it crosses `jit`, `scan` and `grad`. Wrap the likelihood as
`jax.tree_util.Partial(function, params)` with a module-level `function`: then every set of params
shares one compilation.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial
from jaxtyping import Array, Bool, Float, PRNGKeyArray, PyTree
from numpyro.distributions import Distribution

from bayes_jax.errors import InputError
from bayes_jax.estimates import Evidence

Guide = Callable[[Any], Distribution]
"""ONE x -> q(z | x)."""


class LatentModel(NamedTuple):
    """A generative model p(x, z) = p(z) p(x | z) over the unconstrained space R^latent.

    Attributes:
        prior: p(z), event shape `[latent]`, batch shape `()`.
        likelihood: ONE z `[latent]` -> p(x | z) with batch shape `()`.
    """

    prior: Distribution
    likelihood: Callable[[Array], Distribution]


class GenerativeModel(NamedTuple):
    """A fitted model, told apart by what it can do; None where it cannot. It never crosses jit.

    Attributes:
        sample: `(key, num) -> x [num, ...]`.
        log_evidence: `(key, x) -> Evidence` for a batch x, by the family's default estimator.
        latent: the model as p(z) p(x | z), for the engines.
        guide: the amortized posterior, ONE x -> q(z | x).
        posterior: the exact posterior, ONE x -> p(z | x).
        density: p(x) itself, where a distribution says it.
        sandwich: `(key, z, x) -> Evidence` of kind SANDWICH for pairs that `latent` made, by what
            `log_evidence` gives the lower side of.
        completion: the exact p(x | x_observed) over all of x, ONE (x, missing) -> distribution.
        continuations: `(key, prefix, num) -> x [num, length]`, draws of sentences that begin with
            the tokens of `prefix`.
    """

    sample: Callable[[PRNGKeyArray, int], PyTree]
    log_evidence: Callable[[PRNGKeyArray, PyTree], Evidence]
    latent: LatentModel | None = None
    guide: Guide | None = None
    posterior: Guide | None = None
    density: Distribution | None = None
    sandwich: Callable[[PRNGKeyArray, Array, PyTree], Evidence] | None = None
    completion: Callable[[Array, Array], Distribution] | None = None
    continuations: Callable[[PRNGKeyArray, Any, int], PyTree] | None = None


def log_joint(model: LatentModel, z: Float[Array, " latent"], x: PyTree) -> Float[Array, ""]:
    """log p(x, z) = log p(z) + log p(x | z) in nats, for one z and one x.

    Args:
        model: the model.
        z: one latent vector.
        x: one observation, an array or a pytree.

    Returns:
        A scalar in nats.
    """
    return model.prior.log_prob(z) + model.likelihood(z).log_prob(x)


def simulate(
    key: PRNGKeyArray, model: LatentModel, num: int
) -> tuple[Float[Array, "num latent"], PyTree]:
    """Draw `num` independent pairs (z, x) from p(x, z).

    Each z is an exact draw from p(z | x) of its own x, which is what makes upper bounds on the
    evidence and simulation-based calibration possible (Grosse, Ancha, Roy 2016, arXiv 1606.02275).

    Args:
        key: a PRNG key.
        model: the model.
        num: how many pairs.

    Returns:
        z `[num, latent]` and x `[num, ...]`.
    """
    return _simulate(key, compilable(model), num)


@jax.jit(static_argnums=2)
def _simulate(key, model, num):
    def pair(key):
        key_latent, key_observation = jax.random.split(key)
        z = model.prior.sample(key_latent)
        return z, model.likelihood(z).sample(key_observation)

    return jax.vmap(pair)(jax.random.split(key, num))


def compilable(tree):
    """Wrap plain functions in a model, guide or density as `Partial`, so that they cross `jit`.

    A function made anew for each call (a lambda in a loop) compiles anew each time; a module-level
    function in a `Partial` over its params compiles once.
    """
    if isinstance(tree, LatentModel):
        return tree._replace(likelihood=compilable(tree.likelihood))
    if isinstance(tree, Partial):
        if not any(callable(leaf) for leaf in jax.tree.leaves(tree)):
            return tree
        return jax.tree.map(lambda leaf: Partial(leaf) if callable(leaf) else leaf, tree)
    return None if tree is None else Partial(tree)


def latent_dim(model: LatentModel) -> int:
    """The number of latent dimensions, from the prior's event shape."""
    if len(model.prior.event_shape) != 1 or model.prior.batch_shape != ():
        raise InputError(
            f"the prior has event shape {model.prior.event_shape} and batch shape "
            f"{model.prior.batch_shape}; expected one vector, [latent] and (): use .to_event(1)"
        )
    return model.prior.event_shape[0]


def check_observations(model: LatentModel, x: PyTree) -> None:
    """Refuse observations that the likelihood gives no density: NaN, grey pixels in a Bernoulli.

    And a prior that does not reach over all of R^latent, where chains and Gaussians go.

    Args:
        model: the model.
        x: a batch of observations `[batch, ...]`. Traced ones have no values to look at: whoever
            traces an engine checks before.

    Raises:
        InputError: naming the first bad row, the shapes that do not fit, or the prior.
    """
    if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves((model, x))):
        return
    # Values are looked at although a caller may be under `jax.eval_shape`, for its shapes alone.
    with jax.ensure_compile_time_eval():
        _check_prior(model.prior)
        # A function that outlives the call, so that the next one traces nothing.
        _check_shapes(jax.eval_shape(_some_likelihood, model), x)
        inside = _inside_support(model, x)
        _refuse_outside(
            inside, lambda: f"the likelihood ({_support_name(_some_likelihood(model))})"
        )


def check_density(density: Distribution, x: PyTree) -> None:
    """Refuse observations to which p(x) itself gives no density.

    Args:
        density: p(x).
        x: a batch of observations `[batch, ...]`, concrete (not traced).

    Raises:
        InputError: naming the first bad row, or the shapes that do not fit.
    """
    _check_shapes(density, x)
    inside = _inside(density, x)
    _refuse_outside(inside, lambda: f"p(x) ({_support_name(density)})")


def _refuse_outside(inside, name) -> None:
    if not bool(jnp.all(inside)):
        raise InputError(
            f"x[{int(jnp.argmin(inside))}] lies outside the support of {name()}: "
            f"{int(jnp.sum(~inside))} of {inside.shape[0]} observations are not usable"
        )


def _check_prior(prior: Distribution) -> None:
    """By what its support says of points far out, whatever its class."""
    far = 1e6 * np.ones(prior.event_shape, np.float32)
    if not all(np.all(prior.support(point)) for point in (far, -far)):
        raise InputError(
            f"the prior ({type(prior).__name__}) has bounded support: expected one over all of "
            "R^latent; write the model as a NumPyro program and take `from_numpyro`"
        )


def _some_likelihood(model) -> Distribution:
    return model.likelihood(model.prior.sample(jax.random.key(0)))


def _check_shapes(distribution, x) -> None:
    leaves = jax.tree.leaves(x)
    if not leaves or any(leaf.ndim == 0 for leaf in leaves) or leaves[0].shape[0] == 0:
        raise InputError("x holds no observations: expected a batch [batch, ...]")
    if len(leaves) == 1 and leaves[0].shape[1:] != distribution.event_shape:
        raise InputError(
            f"x has observations of shape {leaves[0].shape[1:]}, the model has "
            f"{distribution.event_shape}: expected x of shape [batch, *event_shape]"
        )


@jax.jit
def _inside_support(model, x) -> Bool[Array, " batch"]:
    return _inside(_some_likelihood(model), x)


@jax.jit
def _inside(distribution, x) -> Bool[Array, " batch"]:
    return jax.vmap(lambda x: jnp.all(distribution.support(x)))(x)


def _support_name(distribution) -> str:
    support = distribution.support
    support = getattr(support, "base_constraint", support)
    return type(support).__name__.strip("_").lower()
