"""Chains of a whole batch of x, step by step: `init`, `warm_up`, `sample`, all pure.

Whatever a run needs to go on is in `Chains`, a pytree: a run that is stopped between two calls and
continued gives the draws of one that was not. The noise of a move depends on the x's index and on
the move's, and on nothing else.
"""

from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax.tree_util import Partial
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, PyTree

from bayes_jax.batching import Index, check_batch, map_observations, map_rows
from bayes_jax.errors import InputError
from bayes_jax.estimates import Draws
from bayes_jax.mcmc import adaptation, hmc, nuts
from bayes_jax.mcmc.targets import ForceDtype, make_target
from bayes_jax.model import compilable

Kernel = Literal["hmc", "nuts"]


class Settings(NamedTuple):
    """What is fixed at compile time.

    Attributes:
        kernel: "hmc", batched HMC of fixed shape, or "nuts", NumPyro's.
        num_warmup: moves before the kept ones.
        num_leapfrogs: gradients per move of "hmc".
        force_dtype: "bfloat16" drives "hmc" by gradients in half precision; its accept step stays
            in full precision, so that the draws are as exact, where acceptance allows it.
        batch_size: x in memory at once; None takes all ("nuts": one after another).
        far_starts: the chains of "hmc" may start far out: in the first window of the warm-up each
            searches a step size of its own, and at its end those far below the others climb.
    """

    kernel: Kernel = "hmc"
    num_warmup: int = 400
    num_leapfrogs: int = hmc.NUM_LEAPFROGS
    force_dtype: ForceDtype = "float32"
    batch_size: int | None = None
    far_starts: bool = False


class Starts(NamedTuple):
    """Where the chains of a batch start.

    Attributes:
        positions: `[batch, chain, latent]`.
        factor: whitens each target until its chains know better, `[batch, latent, latent]`.
        from_prior: chains that were started wide, to look where a guide does not; they are not
            asked for the covariance, `[batch, chain]`.
    """

    positions: Float[Array, "*batch chain latent"]
    factor: Float[Array, "*batch latent latent"]
    from_prior: Bool[Array, "*batch chain"]


class Chains(NamedTuple):
    """Chains of a batch between two calls.

    Attributes:
        key: of each x, `[batch]`.
        state: of the kernel, leaves `[batch, ...]`.
        from_prior: as in `Starts`, `[batch, chain]`.
        valid: False where the density was not finite at a start, `[batch]`.
        num_moves: made so far, the same for all.
    """

    key: PRNGKeyArray
    state: PyTree
    from_prior: Bool[Array, "*batch chain"]
    valid: Bool[Array, "*batch"]
    num_moves: Int[Array, ""] | None


def init(
    key: PRNGKeyArray,
    log_density: PyTree,
    data: PyTree,
    starts: Starts,
    *,
    settings: Settings,
    index_offset: Index = 0,
) -> Chains:
    """Put the chains where they start.

    Args:
        key: a PRNG key.
        log_density: `(z, datum) -> scalar` in nats; z `[latent]`.
        data: leaves `[batch, ...]`.
        starts: of the batch.
        settings: the same in every later call.
        index_offset: index of the first datum in the whole data set.

    Raises:
        InputError: no chains, leading axes that do not pair up, or settings that make no sense.
    """
    check_batch((data, starts), settings.batch_size)
    check_settings(settings, starts.positions.shape[1], num_samples=1)
    return _init(key, compilable(log_density), data, starts, index_offset, settings=settings)


def warm_up(
    log_density: PyTree,
    data: PyTree,
    chains: Chains,
    *,
    settings: Settings,
    num_moves: int | None = None,
) -> Chains:
    """Make the moves that adapt the chains, all of them or the next `num_moves`.

    Args:
        log_density: as in `init`.
        data: as in `init`.
        chains: from `init`, or from a warm-up that has not come to its end.
        settings: as in `init`.
        num_moves: None makes all that are left of it.

    Raises:
        InputError: fewer moves are left.
    """
    if not isinstance(chains.num_moves, jax.core.Tracer):
        left = settings.num_warmup - int(chains.num_moves)
        num_moves = left if num_moves is None else num_moves
        if not 0 <= num_moves <= left:
            raise InputError(
                f"num_moves is {num_moves}: expected 0 to {left}, those left of the warm-up"
            )
    num_moves = settings.num_warmup if num_moves is None else num_moves
    return _warm_up(compilable(log_density), data, chains, num_moves=num_moves, settings=settings)


def sample(
    log_density: PyTree, data: PyTree, chains: Chains, *, num_samples: int, settings: Settings
) -> tuple[Chains, Draws]:
    """Make `num_samples` moves of every chain and keep them.

    Args:
        log_density: as in `init`.
        data: as in `init`.
        chains: warmed up.
        num_samples: kept draws per chain.
        settings: as in `init`.

    Returns:
        Chains to go on with; Draws, whose `num_grads` counts all moves so far.

    Raises:
        InputError: the warm-up is not over, or no draws are asked for.
    """
    check_settings(settings, num_chains=1, num_samples=num_samples)
    if not isinstance(chains.num_moves, jax.core.Tracer):
        made = int(chains.num_moves)
        if made < settings.num_warmup:
            raise InputError(
                f"the warm-up has made {made} of {settings.num_warmup} moves: `warm_up` to its end"
            )
    return _sample(
        compilable(log_density), data, chains, num_samples=num_samples, settings=settings
    )


@partial(jax.jit, static_argnames="settings")
def _init(key, log_density, data, starts, index_offset, *, settings):
    def one(key, row):
        datum, start = row
        return init_one(key, Partial(density_of, log_density, datum), start, settings)

    chains = map_observations(
        one, key, (data, starts), batch_size=rows_at_once(settings), index_offset=index_offset
    )
    return chains._replace(num_moves=jnp.zeros((), jnp.int32))


@partial(jax.jit, static_argnames=("num_moves", "settings"))
def _warm_up(log_density, data, chains, *, num_moves, settings):
    move = partial(warm_up_one, settings=settings, first=chains.num_moves, num_moves=num_moves)
    moved = _each(move, log_density, data, chains, settings)
    return moved._replace(num_moves=chains.num_moves + num_moves)


@partial(jax.jit, static_argnames=("num_samples", "settings"))
def _sample(log_density, data, chains, *, num_samples, settings):
    move = partial(sample_one, settings=settings, first=chains.num_moves, num_samples=num_samples)
    moved, draws = _each(move, log_density, data, chains, settings)
    return moved._replace(num_moves=chains.num_moves + num_samples), draws


def _each(move, log_density, data, chains, settings):
    """`move(density, chains)` for every x; the number of moves is no x's own."""

    def one(row):
        datum, chains = row
        return move(Partial(density_of, log_density, datum), chains)

    rows = data, chains._replace(num_moves=None)
    return map_rows(one, rows, batch_size=rows_at_once(settings))


def density_of(log_density, datum, z):
    """The density of one x, as a pytree: `Partial(density_of, log_density, datum)`."""
    return log_density(z, datum)


def init_one(key, density: Partial, start: Starts, settings: Settings) -> Chains:
    """`init` for ONE x."""
    if settings.kernel == "nuts":
        state = nuts.init(key, density, start.positions, num_warmup=settings.num_warmup)
    else:
        target = make_target(density, settings.force_dtype)
        state = hmc.init(target, start.positions, start.factor, 1.0 - start.from_prior)
    # A chain can come in from where the density is zero, but then its start says nothing of z.
    finite = jnp.all(jnp.isfinite(jax.vmap(density)(start.positions)))
    return Chains(key, state, start.from_prior, finite, None)


def warm_up_one(density: Partial, chains: Chains, settings: Settings, *, first, num_moves: int):
    """`warm_up` for ONE x."""
    num_warmup = settings.num_warmup
    if settings.kernel == "nuts":
        state = nuts.warm_up(density, chains.state, num_warmup=num_warmup, num_moves=num_moves)
    else:
        state = hmc.warm_up(
            chains.key,
            make_target(density, settings.force_dtype),
            chains.state,
            num_warmup=num_warmup,
            first=first,
            num_moves=num_moves,
            num_leapfrogs=settings.num_leapfrogs,
            far_starts=settings.far_starts,
        )
    return chains._replace(state=state)


def sample_one(density: Partial, chains: Chains, settings: Settings, *, first, num_samples: int):
    """`sample` for ONE x."""
    if settings.kernel == "nuts":
        state, kept = nuts.sample(
            density, chains.state, num_samples=num_samples, num_warmup=settings.num_warmup
        )
        num_grads = state.num_grads
    else:
        state, kept = hmc.sample(
            chains.key,
            make_target(density, settings.force_dtype),
            chains.state,
            num_samples=num_samples,
            first=first,
            num_leapfrogs=settings.num_leapfrogs,
        )
        num_grads = hmc.num_gradients(
            len(chains.from_prior),
            first + num_samples,
            num_leapfrogs=settings.num_leapfrogs,
            has_climbed=settings.far_starts
            & adaptation.is_past_first_window(first, settings.num_warmup),
        )
    finite = jnp.isfinite(kept.log_density) & jnp.all(jnp.isfinite(kept.z), axis=-1)
    draws = Draws(
        z=kept.z,
        log_joint=kept.log_density,
        energy=kept.energy,
        accept=kept.accept,
        diverging=kept.diverging,
        num_grads=jnp.asarray(num_grads),
        valid=chains.valid & jnp.all(finite),
        from_prior=chains.from_prior,
    )
    return chains._replace(state=state), draws


def rows_at_once(settings: Settings) -> int | None:
    """In lock step every posterior would wait for the deepest of all of NUTS's trees."""
    one_by_one = settings.kernel == "nuts" and settings.batch_size is None
    return 1 if one_by_one else settings.batch_size


def check_settings(settings: Settings, num_chains: int, num_samples: int) -> None:
    """Refuse what makes no sense.

    Raises:
        InputError: naming what was found and what is expected.
    """
    for name, value, known in (
        ("kernel", settings.kernel, ("hmc", "nuts")),
        ("force_dtype", settings.force_dtype, ("float32", "bfloat16")),
    ):
        if value not in known:
            raise InputError(f"{name} is {value!r}: expected {known[0]!r} or {known[1]!r}")
    if settings.kernel == "nuts" and settings.force_dtype != "float32":
        raise InputError("force_dtype is 'bfloat16': expected 'float32' with kernel 'nuts'")
    for name, value, least in (
        ("num_chains", num_chains, 1),
        ("num_warmup", settings.num_warmup, 0),
        ("num_samples", num_samples, 1),
        ("num_leapfrogs", settings.num_leapfrogs, 1),
    ):
        if value < least:
            raise InputError(f"{name} is {value}: expected at least {least}")
