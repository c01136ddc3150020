"""What EM of every mixture shares: the k-means++ start, the E step, and what data it refuses.

Its params are a NamedTuple of `log_weights` `[component]` and more, with three methods:
`log_probs(x) -> [num, component]`, log p(x | k); `maximise(responsibilities, x, smoothing)`, the
params of the M step; `log_prior(smoothing)`, what the objective adds to the log likelihood of x.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logsumexp
from jaxtyping import Array, Float, Num, PRNGKeyArray
from numpyro.distributions import constraints

from bayes_jax.errors import InputError


def em_step(params: Any, x: Float[Array, "num dim"], smoothing: Any) -> tuple[Any, Array]:
    """New params, and the objective of the OLD ones in nats per observation.

    Args:
        params: of the mixture.
        x: observations.
        smoothing: of the M step: a floor of variances, or a pseudo-count.
    """
    log_joint = params.log_weights + params.log_probs(x)
    log_evidence = logsumexp(log_joint, axis=1)
    objective = jnp.mean(log_evidence) + params.log_prior(smoothing) / x.shape[0]
    responsibilities = jnp.exp(log_joint - log_evidence[:, None])
    return params.maximise(responsibilities, x, smoothing), objective


def first_responsibilities(
    key: PRNGKeyArray, x: Float[Array, "num dim"], num_components: int
) -> Float[Array, "num component"]:
    """Each x to the nearest of centres drawn far from each other.

    Args:
        key: a PRNG key.
        x: observations.
        num_components: number of centres.

    Returns:
        Rows of one 1 and zeros.

    References:
        Arthur, Vassilvitskii 2007, "k-means++: the advantages of careful seeding",
        https://dl.acm.org/doi/10.5555/1283383.1283494.
    """

    def distance(centre):
        return jnp.sum((x - centre) ** 2, axis=1)

    def choose(nearest, key):
        centre = x[jax.random.categorical(key, jnp.log(nearest))]
        return jnp.minimum(nearest, distance(centre)), centre

    nowhere = jnp.full(x.shape[0], jnp.finfo(x.dtype).max)
    _, centres = jax.lax.scan(choose, nowhere, jax.random.split(key, num_components))
    nearest = jnp.argmin(jax.lax.map(distance, centres), axis=0)
    return jax.nn.one_hot(nearest, num_components, dtype=x.dtype)


def shares_of(
    responsibilities: Float[Array, "num component"],
) -> tuple[Float[Array, "component num"], Float[Array, " component"]]:
    """Weights of the observations within each component, rows summing to 1, and log w_k."""
    counts = jnp.sum(responsibilities, axis=0)
    shares = responsibilities / jnp.maximum(counts, jnp.finfo(counts.dtype).tiny)
    return shares.T, log_weights_of(counts)


def log_weights_of(counts: Float[Array, " component"]) -> Float[Array, " component"]:
    """log w_k of so many observations; one that has lost them all stays at next to nothing."""
    counts = jnp.maximum(counts, jnp.finfo(counts.dtype).eps)
    return jnp.log(counts) - jnp.log(jnp.sum(counts))


def check_support(support: Any, x: Num[Array | np.ndarray, "num dim"]) -> None:
    """Refuse observations of which a pixel lies outside the support of the components.

    Args:
        support: of one pixel, `boolean` or `real`.
        x: observations.

    Raises:
        InputError: naming the first bad row.
    """
    inside = jnp.all(support(x), axis=-1)
    if not bool(jnp.all(inside)):
        expected = "0 and 1" if support is constraints.boolean else "finite numbers"
        raise InputError(
            f"x[{int(jnp.argmin(inside))}] holds something else than {expected}: "
            f"{int(jnp.sum(~inside))} of {len(x)} observations are not usable"
        )


def check_counts(num: int, num_components: int, num_restarts: int, num_iterations: int) -> None:
    """Refuse more components than observations, and options below 1.

    Args:
        num: of observations.
        num_components: of components.
        num_restarts: of starts.
        num_iterations: of steps at most.

    Raises:
        InputError: naming the option.
    """
    if not 1 <= num_components <= num:
        raise InputError(f"num_components is {num_components}: expected 1 to {num}, x's number")
    for name, value in (("num_restarts", num_restarts), ("num_iterations", num_iterations)):
        if value < 1:
            raise InputError(f"{name} is {value}: expected at least 1")
