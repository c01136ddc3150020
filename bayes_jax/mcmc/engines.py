"""Posterior draws for a whole batch of x in one compile, from start to end."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jax.tree_util import Partial
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from bayes_jax.batching import Index, check_batch, map_observations
from bayes_jax.errors import InputError
from bayes_jax.estimates import Draws
from bayes_jax.mcmc import hmc
from bayes_jax.mcmc.chains import (
    Chains,
    Kernel,
    Settings,
    Starts,
    check_settings,
    density_of,
    init_one,
    rows_at_once,
    sample_one,
    warm_up_one,
)
from bayes_jax.mcmc.pullback import (
    Whitening,
    flow_of,
    noise_of_prior_chains,
    pulled_back,
    pushed_forward,
)
from bayes_jax.mcmc.targets import ForceDtype
from bayes_jax.model import Guide, LatentModel, check_observations, compilable, log_joint
from bayes_jax.noise import independent_draws
from bayes_jax.transports import affine_from_draws

# Draws from guide or prior whose mean and covariance whiten the target at the start.
NUM_WHITENING_DRAWS = 1000
# Chains that start from the prior though there is a guide: all that start from it may sit in the
# one mode it knows, and agree.
NUM_PRIOR_CHAINS = 4
WARMUP_WITH_GUIDE, WARMUP_WITHOUT = 100, 400
# NUTS starts from the identity and learns for each chain by itself: NumPyro's usual number.
WARMUP_NUTS = 1000


def sample_posterior(
    key: PRNGKeyArray,
    model: LatentModel,
    x: PyTree,
    *,
    guide: Guide | None = None,
    kernel: Kernel = "hmc",
    num_chains: int = 16,
    num_warmup: int | None = None,
    num_samples: int = 1000,
    num_leapfrogs: int = hmc.NUM_LEAPFROGS,
    force_dtype: ForceDtype = "float32",
    whiten: Whitening = "moments",
    batch_size: int | None = None,
    index_offset: Index = 0,
) -> Draws:
    """Draw from p(z | x) for every x of a batch.

    Chains start at draws from the prior, or where there is a guide all but 4 of them (half, below
    8 chains) at draws from it. The mean and covariance of such draws whiten the target until the
    chains know better. Those from the prior find modes that the guide misses and cannot weigh them:
    where `verdict` tells of other modes, no average over all chains is to be trusted.
    `mcmc.posterior_starts`, `mcmc.init`, `mcmc.warm_up` and `mcmc.sample` do the same in steps.

    Args:
        key: a PRNG key.
        model: p(z) p(x | z).
        x: `[batch, ...]`.
        guide: ONE x -> q(z | x).
        kernel: "hmc", batched HMC of fixed shape, or "nuts", NumPyro's.
        num_chains: chains per x.
        num_warmup: moves before the kept ones; 100 with a guide, 400 without, 1000 of "nuts", if
            None.
        num_samples: kept draws per chain.
        num_leapfrogs: gradients per move of "hmc": 5 for a target that whitening makes round, more
            where directions of very different scales are left.
        force_dtype: "bfloat16" drives "hmc" by gradients in half precision; its accept step stays
            in full precision, so that the draws are as exact.
        whiten: by the "moments" of the guide's draws, or by the "map" of a guide that is a flow,
            exactly: the chains then move where the guide is a normal. Their own covariance comes on
            top of either.
        batch_size: observations in memory at once; None takes all ("nuts": one after another).
        index_offset: index of x[0] in the whole data set.

    Returns:
        Draws with z `[batch, chain, draw, latent]`.

    Raises:
        InputError: on x the likelihood gives no density, counts that make no sense, or a guide that
            is no flow with an inverse where its map is asked for.
    """
    if whiten not in ("moments", "map"):
        raise InputError(f"whiten is {whiten!r}: expected 'moments' or 'map'")
    model, guide = compilable(model), compilable(guide)
    check_batch(x, batch_size)
    check_observations(model, x)
    settings = posterior_settings(
        guide,
        kernel=kernel,
        num_warmup=num_warmup,
        num_leapfrogs=num_leapfrogs,
        force_dtype=force_dtype,
        batch_size=batch_size,
    )
    check_settings(settings, num_chains, num_samples)
    return _sample_posterior(
        key,
        model,
        guide,
        x,
        index_offset,
        num_chains=num_chains,
        num_samples=num_samples,
        settings=settings,
        by_map=whiten == "map",
    )


def sample_batch(
    key: PRNGKeyArray,
    log_density: Callable,
    data: PyTree,
    init: PyTree,
    *,
    kernel: Kernel = "hmc",
    num_warmup: int = WARMUP_WITHOUT,
    num_samples: int = 1000,
    num_leapfrogs: int = hmc.NUM_LEAPFROGS,
    force_dtype: ForceDtype = "float32",
    batch_size: int | None = None,
    index_offset: Index = 0,
) -> Draws:
    """Draw from exp(log_density(z, datum)) for every datum of a batch.

    The chains of "hmc" may start far out and in badly scaled places (`mcmc.Settings.far_starts`).
    One that ends in a mode of its own, however low, stays there: `verdict` tells of it.

    Args:
        key: a PRNG key.
        log_density: `(z, datum) -> scalar` in nats, on all of R^d, unnormalised; z is a pytree.
        data: a pytree, leaves `[batch, ...]`.
        init: where the chains start, a pytree of z with leaves `[batch, chain, ...]`.
        kernel: "hmc" or "nuts".
        num_warmup: moves before the kept ones.
        num_samples: kept draws per chain.
        num_leapfrogs: gradients per move of "hmc": 5 for a target that whitening makes round, more
            where directions of very different scales are left.
        force_dtype: as in `sample_posterior`.
        batch_size: data in memory at once; None takes all ("nuts": one after another).
        index_offset: index of the first datum in the whole data set.

    Returns:
        Draws, leaves of z `[batch, chain, draw, ...]`; `valid` is False for a datum whose density
        was not finite where a chain started or stood.

    Raises:
        InputError: on leading axes that do not pair up, or counts that make no sense.
    """
    check_batch((data, init), batch_size)
    settings = Settings(kernel, num_warmup, num_leapfrogs, force_dtype, batch_size, far_starts=True)
    check_settings(settings, _num_chains(init), num_samples)
    return _sample_batch(
        key,
        compilable(log_density),
        data,
        init,
        index_offset,
        num_samples=num_samples,
        settings=settings,
    )


def posterior_settings(
    guide: Guide | None,
    *,
    kernel: str = "hmc",
    num_warmup: int | None = None,
    num_leapfrogs: int = hmc.NUM_LEAPFROGS,
    force_dtype: str = "float32",
    batch_size: int | None = None,
) -> Settings:
    """Settings of the chains of `sample_posterior`, its defaults in place.

    Args:
        guide: ONE x -> q(z | x), or None.
        kernel: as in `sample_posterior`, with the options below.
        num_warmup: moves before the kept ones.
        num_leapfrogs: gradients per move of "hmc".
        force_dtype: of the gradients of "hmc".
        batch_size: observations in memory at once.
    """
    if num_warmup is None:
        num_warmup = WARMUP_WITHOUT if guide is None else WARMUP_WITH_GUIDE
        num_warmup = WARMUP_NUTS if kernel == "nuts" else num_warmup
    return Settings(
        kernel, num_warmup, num_leapfrogs, force_dtype, batch_size, far_starts=guide is None
    )


def posterior_chains(
    key: PRNGKeyArray,
    model: LatentModel,
    x: PyTree,
    *,
    settings: Settings,
    guide: Guide | None = None,
    num_chains: int = 16,
    index_offset: int = 0,
) -> Chains:
    """The chains of `sample_posterior` where they start, with its keys.

    `mcmc.warm_up` and `mcmc.sample` go on from there, with `Partial(log_joint, model)` as their
    density: moved in steps these are the same chains, up to rounding.

    Args:
        key: a PRNG key.
        model: p(z) p(x | z).
        x: `[batch, ...]`.
        settings: from `posterior_settings`; the same in every later call.
        guide: ONE x -> q(z | x).
        num_chains: chains per x.
        index_offset: index of x[0] in the whole data set.

    Raises:
        InputError: as `sample_posterior`.
    """
    model, guide = compilable(model), compilable(guide)
    check_batch(x, settings.batch_size)
    check_observations(model, x)
    check_settings(settings, num_chains, num_samples=1)
    return _posterior_chains(
        key, model, guide, x, index_offset, num_chains=num_chains, settings=settings
    )


@partial(jax.jit, static_argnames=("num_chains", "settings"))
def _posterior_chains(key, model, guide, x, index_offset, *, num_chains, settings):
    def one(key, x):
        key_start, key_chains = jax.random.split(key)
        starts = start(key_start, model, guide, x, num_chains=num_chains)
        density = Partial(density_of, Partial(log_joint, model), x)
        return init_one(key_chains, density, starts, settings)

    chains = map_observations(
        one, key, x, batch_size=rows_at_once(settings), index_offset=index_offset
    )
    return chains._replace(num_moves=jnp.zeros((), jnp.int32))


def posterior_starts(
    key: PRNGKeyArray,
    model: LatentModel,
    x: PyTree,
    *,
    guide: Guide | None = None,
    num_chains: int = 16,
    index_offset: Index = 0,
) -> Starts:
    """Where `sample_posterior` starts its chains: what `mcmc.init` takes.

    Args:
        key: a PRNG key.
        model: p(z) p(x | z).
        x: `[batch, ...]`.
        guide: ONE x -> q(z | x).
        num_chains: chains per x; beside a guide the last 4 (half of fewer than 8) start from the
            prior.
        index_offset: index of x[0] in the whole data set.

    Raises:
        InputError: on x the likelihood gives no density, or no chains.
    """
    model, guide = compilable(model), compilable(guide)
    check_settings(Settings(), num_chains, num_samples=1)
    check_observations(model, x)
    return _posterior_starts(key, model, guide, x, index_offset, num_chains=num_chains)


@partial(jax.jit, static_argnames="num_chains")
def _posterior_starts(key, model, guide, x, index_offset, *, num_chains):
    def one(key, x):
        return start(key, model, guide, x, num_chains=num_chains)

    return map_observations(one, key, x, index_offset=index_offset)


def start(
    key: PRNGKeyArray, model: LatentModel, guide: Guide | None, x: PyTree, *, num_chains: int
) -> Starts:
    """Where the chains of ONE x start, and what whitens its posterior until they know better.

    Args:
        key: a PRNG key.
        model: p(z) p(x | z).
        guide: x -> q(z | x), or None.
        x: one observation.
        num_chains: chains; the last 4 (half of fewer than 8) start from the prior beside a guide.
    """
    num_prior = 0 if guide is None else min(NUM_PRIOR_CHAINS, num_chains // 2)
    key_source, key_prior = jax.random.split(key)
    source = model.prior if guide is None else guide(x)
    draws = independent_draws(key_source, source, NUM_WHITENING_DRAWS + num_chains)
    wide = independent_draws(key_prior, model.prior, num_prior)
    return Starts(
        positions=jnp.concatenate([draws[: num_chains - num_prior], wide]),
        factor=affine_from_draws(draws[num_chains:]).scale_tril,
        from_prior=jnp.arange(num_chains) >= num_chains - num_prior,
    )


@partial(jax.jit, static_argnames=("num_chains", "num_samples", "settings", "by_map"))
def _sample_posterior(
    key, model, guide, x, index_offset, *, num_chains, num_samples, settings, by_map
):
    def one(key, x):
        key_start, key_chains = jax.random.split(key)
        density = Partial(density_of, Partial(log_joint, model), x)
        if not by_map:
            starts = start(key_start, model, guide, x, num_chains=num_chains)
            return _run(key_chains, density, starts, num_samples, settings)
        # Where the flow's base is z, its map is a part of the model.
        base, flow = flow_of(guide, x)
        starts = start(key_start, model, lambda x: base, x, num_chains=num_chains)
        starts = starts._replace(positions=noise_of_prior_chains(flow, starts))
        draws = _run(key_chains, Partial(pulled_back, flow, density), starts, num_samples, settings)
        return pushed_forward(flow, draws)

    batch_size = rows_at_once(settings)
    return map_observations(one, key, x, batch_size=batch_size, index_offset=index_offset)


@partial(jax.jit, static_argnames=("num_samples", "settings"))
def _sample_batch(key, log_density, data, init, index_offset, *, num_samples, settings):
    def one(key, row):
        datum, starts = row
        _, unravel = ravel_pytree(jax.tree.map(lambda leaf: leaf[0], starts))
        positions = jax.vmap(lambda z: ravel_pytree(z)[0])(starts)
        density = Partial(_density_of_tree, Partial(unravel), log_density, datum)
        draws = _run(key, density, spread_starts(positions), num_samples, settings)
        return draws._replace(z=jax.vmap(jax.vmap(unravel))(draws.z))

    batch_size = rows_at_once(settings)
    return map_observations(
        one, key, (data, init), batch_size=batch_size, index_offset=index_offset
    )


def spread_starts(positions: Float[Array, "chain latent"]) -> Starts:
    """Starts of ONE datum without a model: their spread whitens; the identity where it has none.

    Args:
        positions: `[chain, latent]`.
    """
    spread = jnp.std(positions, axis=0)
    factor = jnp.diag(jnp.where(jnp.any(spread < 1e-6), 1.0, spread))
    return Starts(positions, factor, jnp.zeros(len(positions), bool))


def _run(key, density, starts, num_samples, settings) -> Draws:
    chains = init_one(key, density, starts, settings)
    num_warmup = settings.num_warmup
    chains = warm_up_one(density, chains, settings, first=0, num_moves=num_warmup)
    return sample_one(density, chains, settings, first=num_warmup, num_samples=num_samples)[1]


def _density_of_tree(unravel, log_density, datum, z):
    return log_density(unravel(z), datum)


def _num_chains(init) -> int:
    leaves = jax.tree.leaves(init)
    chains = {leaf.shape[1] if leaf.ndim > 1 else 0 for leaf in leaves}
    if len(chains) != 1:
        raise InputError(f"init has {sorted(chains)} chains: expected leaves [batch, chain, ...]")
    return chains.pop()
