"""Importance sampling from a guide: ELBO, importance-weighted bound, resampling, Pareto k-hat.

With z_k ~ q(z | x) and log w_k = log p(x, z_k) - log q(z_k | x):

    ELBO    = E[log w_1]                    <= log p(x)
    L_K     = E[log (1/K) sum_k w_k]        <= log p(x), rising with K (arXiv 1509.00519, Theorem 1)

Functions of one x are pure; the engines take a batch and compile once.
"""

from functools import partial

import jax
import jax.numpy as jnp
from blackjax.diagnostics import psis_weights
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from bayes_jax.batching import Index, check_batch, map_observations
from bayes_jax.errors import InputError
from bayes_jax.estimates import Evidence, WeightedDraws
from bayes_jax.model import Guide, LatentModel, check_observations, compilable, log_joint

# Samples of one x in memory at once: what keeps 5000 samples of a large decoder small.
SAMPLES_AT_ONCE = 250


def weighted_draws(
    key: PRNGKeyArray, model: LatentModel, x: PyTree, *, guide: Guide, num_samples: int
) -> tuple[Float[Array, "sample latent"], Float[Array, " sample"]]:
    """Draws from the guide and their log weights log p(x, z) - log q(z | x), for ONE x.

    Returns:
        z `[sample, latent]` and log weights `[sample]` in nats.
    """
    proposal = guide(x)

    def draw(key):
        z = proposal.sample(key)
        return z, log_joint(model, z, x) - proposal.log_prob(z)

    keys = jax.random.split(key, num_samples)
    if num_samples <= SAMPLES_AT_ONCE:
        return jax.vmap(draw)(keys)
    return jax.lax.map(draw, keys, batch_size=SAMPLES_AT_ONCE)


def log_weights(
    key: PRNGKeyArray, model: LatentModel, x: PyTree, *, guide: Guide, num_samples: int
) -> Float[Array, " sample"]:
    """The log importance weights of `num_samples` draws from the guide, in nats, for ONE x."""
    return weighted_draws(key, model, x, guide=guide, num_samples=num_samples)[1]


def elbo(
    key: PRNGKeyArray,
    model: LatentModel,
    x: PyTree,
    *,
    guide: Guide,
    num_samples: int = 100,
    batch_size: int | None = None,
    index_offset: Index = 0,
) -> Evidence:
    """The guide's ELBO, E_q[log p(x, z) - log q(z | x)], for a batch of x.

    Args:
        key: a PRNG key.
        model: p(z) p(x | z).
        x: `[batch, ...]`.
        guide: ONE x -> q(z | x).
        num_samples: draws per x.
        batch_size: observations in memory at once; None takes all.
        index_offset: index of x[0] in the whole data set.

    Returns:
        Evidence of kind LOWER in nats, with the standard error of the mean.

    Raises:
        InputError: on x the likelihood gives no density, or counts below 1.
    """
    return importance_draws(
        key,
        model,
        x,
        guide=guide,
        num_samples=num_samples,
        batch_size=batch_size,
        index_offset=index_offset,
    ).elbo()


def importance_bound(
    key: PRNGKeyArray,
    model: LatentModel,
    x: PyTree,
    *,
    guide: Guide,
    num_samples: int = 50,
    batch_size: int | None = None,
    index_offset: Index = 0,
) -> Evidence:
    """The importance-weighted bound log (1/K) sum_k p(x, z_k) / q(z_k | x), for a batch of x.

    Args:
        key: a PRNG key.
        model: p(z) p(x | z).
        x: `[batch, ...]`.
        guide: ONE x -> q(z | x).
        num_samples: K.
        batch_size: observations in memory at once; None takes all.
        index_offset: index of x[0] in the whole data set.

    Returns:
        Evidence of kind LOWER in nats; its standard error is NaN for K = 1, where the spread of the
        weights is unknown.

    Raises:
        InputError: on x the likelihood gives no density, or counts below 1.

    References:
        Burda, Grosse, Salakhutdinov, "Importance weighted autoencoders", 2016, arXiv 1509.00519.
    """
    return importance_draws(
        key,
        model,
        x,
        guide=guide,
        num_samples=num_samples,
        batch_size=batch_size,
        index_offset=index_offset,
    ).evidence()


def importance_draws(
    key: PRNGKeyArray,
    model: LatentModel,
    x: PyTree,
    *,
    guide: Guide,
    num_samples: int = 50,
    batch_size: int | None = None,
    index_offset: Index = 0,
) -> WeightedDraws:
    """Weighted posterior draws: the guide's draws with their log importance weights.

    Arguments as in `importance_bound`.

    Returns:
        WeightedDraws, z `[batch, sample, latent]` and log weights `[batch, sample]`.
    """
    model, guide = compilable(model), compilable(guide)
    if num_samples < 1:
        raise InputError(f"num_samples is {num_samples}: expected at least 1")
    check_batch(x, batch_size)
    check_observations(model, x)
    return _importance_draws(
        key, model, guide, x, index_offset, num_samples=num_samples, batch_size=batch_size
    )


def resample(
    key: PRNGKeyArray, draws: WeightedDraws, *, num_draws: int, index_offset: Index = 0
) -> Float[Array, "batch draw latent"]:
    """Sampling importance resampling: equally weighted draws, with replacement.

    Args:
        key: a PRNG key.
        draws: weighted draws of a batch.
        num_draws: draws per observation.
        index_offset: index of the first observation in the whole data set.

    Returns:
        z `[batch, draw, latent]`.
    """

    def choose(key, row):
        z, log_weight = row
        return jax.random.choice(key, z, (num_draws,), p=jax.nn.softmax(log_weight))

    return map_observations(choose, key, (draws.z, draws.log_weight), index_offset=index_offset)


def pareto_k_hat(log_weight: Float[Array, "batch sample"]) -> Float[Array, " batch"]:
    """Pareto k-hat of each row of log weights (Vehtari et al. 2024, arXiv 1507.02646).

    Below min(1 - 1/log10 S, 0.7), with S samples, the importance estimate can be trusted.
    """
    return jax.vmap(lambda row: psis_weights(row)[1])(log_weight)


@partial(jax.jit, static_argnames=("num_samples", "batch_size"))
def _importance_draws(key, model, guide, x, index_offset, *, num_samples, batch_size):
    def one(key, x):
        z, weights = weighted_draws(key, model, x, guide=guide, num_samples=num_samples)
        return WeightedDraws(z, weights, jnp.zeros((), jnp.int32))

    return map_observations(one, key, x, batch_size=batch_size, index_offset=index_offset)
