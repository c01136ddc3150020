"""Posterior draws for a whole batch of x in one compile."""

from collections.abc import Callable
from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jax.tree_util import Partial
from jaxtyping import PRNGKeyArray, PyTree

from bayes_jax.batching import check_batch, map_observations
from bayes_jax.errors import InputError
from bayes_jax.estimates import Draws
from bayes_jax.mcmc import hmc, nuts
from bayes_jax.model import Guide, LatentModel, check_observations, compilable, log_joint
from bayes_jax.noise import independent_draws
from bayes_jax.transports import affine_from_draws

Kernel = Literal["hmc", "nuts"]

# Draws from guide or prior whose mean and covariance whiten the target at the start.
NUM_WHITENING_DRAWS = 1000


class Settings(NamedTuple):
    """What is fixed at compile time."""

    kernel: Kernel
    num_warmup: int
    num_samples: int
    batch_size: int | None


def sample_posterior(
    key: PRNGKeyArray,
    model: LatentModel,
    x: PyTree,
    *,
    guide: Guide | None = None,
    kernel: Kernel = "hmc",
    num_chains: int = 16,
    num_warmup: int | None = None,
    num_samples: int = 200,
    batch_size: int | None = None,
    index_offset: int = 0,
) -> Draws:
    """Draw from p(z | x) for every x of a batch.

    Chains start at draws from the guide, or from the prior where there is none, and the mean and
    covariance of such draws whiten the target until the chains know better.

    Args:
        key: a PRNG key.
        model: p(z) p(x | z).
        x: `[batch, ...]`.
        guide: ONE x -> q(z | x).
        kernel: "hmc", batched HMC of fixed shape, or "nuts", NumPyro's.
        num_chains: chains per x.
        num_warmup: moves before the kept ones; 150 with a guide, 400 without, if None.
        num_samples: kept draws per chain.
        batch_size: observations in memory at once; None takes all ("nuts": one after another).
        index_offset: index of x[0] in the whole data set.

    Returns:
        Draws with z `[batch, chain, draw, latent]`.

    Raises:
        InputError: on x the likelihood gives no density, or counts that make no sense.
    """
    model, guide = compilable(model), compilable(guide)
    check_batch(x, batch_size)
    check_observations(model, x)
    if num_warmup is None:
        num_warmup = 400 if guide is None else 150
    settings = Settings(kernel, num_warmup, num_samples, batch_size)
    _check_settings(settings, num_chains)
    return _sample_posterior(
        key, model, guide, x, index_offset, num_chains=num_chains, settings=settings
    )


def sample_batch(
    key: PRNGKeyArray,
    log_density: Callable,
    data: PyTree,
    init: PyTree,
    *,
    kernel: Kernel = "hmc",
    num_warmup: int = 400,
    num_samples: int = 200,
    batch_size: int | None = None,
    index_offset: int = 0,
) -> Draws:
    """Draw from exp(log_density(z, datum)) for every datum of a batch.

    Args:
        key: a PRNG key.
        log_density: `(z, datum) -> scalar` in nats, on all of R^d, unnormalised; z is a pytree.
        data: a pytree, leaves `[batch, ...]`.
        init: where the chains start, a pytree of z with leaves `[batch, chain, ...]`.
        kernel: "hmc" or "nuts".
        num_warmup: moves before the kept ones.
        num_samples: kept draws per chain.
        batch_size: data in memory at once; None takes all ("nuts": one after another).
        index_offset: index of the first datum in the whole data set.

    Returns:
        Draws, leaves of z `[batch, chain, draw, ...]`; `valid` is False for a datum whose density
        was not finite where a chain started or stood.

    Raises:
        InputError: on leading axes that do not pair up, or counts that make no sense.
    """
    check_batch((data, init), batch_size)
    settings = Settings(kernel, num_warmup, num_samples, batch_size)
    _check_settings(settings, _num_chains(init))
    return _sample_batch(key, compilable(log_density), data, init, index_offset, settings=settings)


@partial(jax.jit, static_argnames=("num_chains", "settings"))
def _sample_posterior(key, model, guide, x, index_offset, *, num_chains, settings):
    def one(key, x):
        key_init, key_chains = jax.random.split(key)
        source = model.prior if guide is None else guide(x)
        draws = independent_draws(key_init, source, NUM_WHITENING_DRAWS + num_chains)
        factor = affine_from_draws(draws[num_chains:]).scale_tril
        density = Partial(_joint_density, model, x)
        return _run_chains(key_chains, density, draws[:num_chains], factor, settings)

    return _map(one, key, x, settings, index_offset)


@partial(jax.jit, static_argnames=("settings",))
def _sample_batch(key, log_density, data, init, index_offset, *, settings):
    def one(key, row):
        datum, start = row
        _, unravel = ravel_pytree(jax.tree.map(lambda leaf: leaf[0], start))
        positions = jax.vmap(lambda z: ravel_pytree(z)[0])(start)

        def density(z):
            return log_density(unravel(z), datum)

        draws = _run_chains(key, density, positions, _start_factor(positions), settings)
        return draws._replace(z=jax.vmap(jax.vmap(unravel))(draws.z))

    return _map(one, key, (data, init), settings, index_offset)


def _map(one, key, rows, settings, index_offset):
    batch_size = settings.batch_size
    if settings.kernel == "nuts" and batch_size is None:
        batch_size = 1  # in lock step every posterior would wait for the deepest tree of all
    return map_observations(one, key, rows, batch_size=batch_size, index_offset=index_offset)


def _run_chains(key, density, positions, factor, settings) -> Draws:
    if settings.kernel == "nuts":
        z, log_density, info, num_grads = nuts.sample(
            key,
            density,
            positions,
            num_warmup=settings.num_warmup,
            num_samples=settings.num_samples,
        )
    else:
        key_warm, key_sample = jax.random.split(key)
        state = hmc.init(density, positions, factor)
        state = hmc.warm_up(key_warm, density, state, num_warmup=settings.num_warmup)
        _, (z, log_density, info) = hmc.sample(
            key_sample, density, state, num_samples=settings.num_samples
        )
        num_moves = settings.num_warmup + settings.num_samples
        num_grads = hmc.num_gradients(positions.shape[0], num_moves)
    # A chain can come in from where the density is zero, but then its start says nothing of z.
    start_log_density = jax.vmap(density)(positions)
    finite = [jnp.all(jnp.isfinite(values)) for values in (start_log_density, log_density, z)]
    return Draws(
        z=z,
        log_joint=log_density,
        energy=info.energy,
        accept=jnp.mean(info.accept_prob),
        diverging=jnp.sum(info.diverging),
        num_grads=jnp.asarray(num_grads),
        valid=jnp.all(jnp.stack(finite)),
    )


def _joint_density(model, x, z):
    return log_joint(model, z, x)


def _start_factor(positions):
    """The spread of the starts whitens at first; the identity where all chains start together."""
    spread = jnp.std(positions, axis=0)
    return jnp.diag(jnp.where(jnp.any(spread < 1e-6), 1.0, spread))


def _num_chains(init) -> int:
    leaves = jax.tree.leaves(init)
    chains = {leaf.shape[1] if leaf.ndim > 1 else 0 for leaf in leaves}
    if len(chains) != 1:
        raise InputError(f"init has {sorted(chains)} chains: expected leaves [batch, chain, ...]")
    return chains.pop()


def _check_settings(settings: Settings, num_chains: int) -> None:
    if settings.kernel not in ("hmc", "nuts"):
        raise InputError(f"kernel is {settings.kernel!r}: expected 'hmc' or 'nuts'")
    for name, value, least in (
        ("num_chains", num_chains, 1),
        ("num_warmup", settings.num_warmup, 0),
        ("num_samples", settings.num_samples, 1),
    ):
        if value < least:
            raise InputError(f"{name} is {value}: expected at least {least}")
