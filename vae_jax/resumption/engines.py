"""MCMC, annealing and q* of a batch of x, saved on the way: steps of `bayes_jax` as work.

Arguments and results are those of the engines of the same name there, with a store before them; the
numbers are theirs up to rounding, for the programs are others. Those of one computation are the
same bit by bit, whether it was stopped or not.
"""

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from bayes_jax import annealing, mcmc, variational
from bayes_jax.batching import check_batch
from bayes_jax.estimates import Draws, Evidence, WeightedDraws
from bayes_jax.families import Family, FamilyName, find_family
from bayes_jax.mcmc.chains import check_settings
from bayes_jax.model import Guide, LatentModel, check_observations, compilable, log_joint
from bayes_jax.variational import FittedPosterior, guides_family
from vae_jax.comparison.methods import Engines
from vae_jax.resumption.leaves import abstract, fingerprint, kinds
from vae_jax.resumption.stores import Store
from vae_jax.resumption.work import Work, carry_out

MOVES_PER_CHUNK = 20
"""At most, of chains. A chunk costs a call and a look at the clock, some milliseconds."""

ROWS_PER_CHUNK = 64
"""Observations whose q* is fitted between two saves, where no batch size says how many."""


def engines_in(store: Store) -> Engines:
    """The engines that save in a place, each below its own name there.

    Args:
        store: the place; each engine runs there once.

    Returns:
        Those of this module on one device. On several the plain ones, spread over all of them: what
        is finished is kept, and nothing within.
    """
    if jax.device_count() > 1 or not store.keeps:
        return Engines()
    return Engines(
        **{
            engine.__name__: partial(engine, store.at(engine.__name__))
            for engine in (sample_posterior, annealed_draws, evidence_sandwich, fit_posterior)
        }
    )


def unsaved(store: Store) -> str | None:
    """One line on what `engines_in` does not save in a place; None where it saves all.

    Args:
        store: the place.
    """
    if not store.keeps:
        return (
            "several processes keep nothing that is unfinished: checkpoint_seconds and overwrite "
            "do nothing, and a call that is stopped begins anew"
        )
    if jax.device_count() > 1:
        return (
            f"{jax.device_count()} devices keep what is finished, and nothing within MCMC, "
            "annealing or q*: checkpoint_seconds does nothing"
        )
    return None


def sample_posterior(
    store: Store,
    key: PRNGKeyArray,
    model: LatentModel,
    x: PyTree,
    *,
    guide: Guide | None = None,
    num_chains: int = 16,
    num_samples: int = 1000,
    index_offset: int = 0,
    **options,
) -> Draws:
    """Draw from p(z | x) for every x of a batch, warm-up and draws saved on the way.

    Args:
        store: where.
        key: a PRNG key.
        model: p(z) p(x | z).
        x: `[batch, ...]`.
        guide: ONE x -> q(z | x).
        num_chains: chains per x.
        num_samples: kept draws per chain.
        index_offset: index of x[0] in the whole data set.
        options: of `bayes_jax.mcmc.posterior_settings`: kernel, num_warmup, num_leapfrogs,
            force_dtype, batch_size.

    Returns:
        Draws with z `[batch, chain, draw, latent]`.

    Raises:
        InputError: as `bayes_jax.sample_posterior`, or a place of other work.
        Interrupted: a signal came; what there is is saved.
    """
    model, guide = compilable(model), compilable(guide)
    settings = mcmc.posterior_settings(guide, **options)
    check_settings(settings, num_chains, num_samples)
    density = Partial(log_joint, model)
    warm_up = _lengths(settings.num_warmup)
    lengths = [*warm_up, *_lengths(num_samples)]

    def begin() -> mcmc.Chains:
        return mcmc.posterior_chains(
            key,
            model,
            x,
            settings=settings,
            guide=guide,
            num_chains=num_chains,
            index_offset=index_offset,
        )

    def advance(chains, chunk):
        length = lengths[chunk]
        if chunk >= len(warm_up):
            return mcmc.sample(density, x, chains, num_samples=length, settings=settings)
        return mcmc.warm_up(density, x, chains, num_moves=length, settings=settings), _NO_DRAWS

    counts = {"num_chains": num_chains, "num_samples": num_samples, "index_offset": index_offset}
    belongs = _belongs("sample_posterior", key, model, guide, x, {**settings._asdict(), **counts})
    work = Work(belongs, begin, advance, len(lengths), _NO_DRAWS)
    _, kept = carry_out(store, work)
    return _joined(kept[len(warm_up) :])


def annealed_draws(
    store: Store,
    key: PRNGKeyArray,
    model: LatentModel,
    x: PyTree,
    *,
    guide: Guide | None = None,
    index_offset: int = 0,
    **options,
) -> WeightedDraws:
    """Where annealed chains end, weighted, their walk saved on the way.

    The chains that find the path are made at one go, before the first save.

    Args:
        store: where.
        key: a PRNG key.
        model: p(z) p(x | z).
        x: `[batch, ...]`.
        guide: as in `bayes_jax.annealed_evidence`.
        index_offset: index of x[0] in the whole data set.
        options: of `bayes_jax.annealing.make_settings`: num_chains, num_temperatures, schedule,
            transition, num_leapfrogs, batch_size.

    Returns:
        WeightedDraws, z `[batch, chain, latent]` and log weights `[batch, chain]`.

    Raises:
        InputError: as `bayes_jax.annealed_draws`, or a place of other work.
        Interrupted: a signal came; what there is is saved.
    """
    walk = annealing.make_settings(model, guide, **options)
    return annealing.weighted_draws(_walked(store, key, model, guide, None, x, *walk, index_offset))


def evidence_sandwich(
    store: Store,
    key: PRNGKeyArray,
    model: LatentModel,
    z: Float[Array, "batch latent"],
    x: PyTree,
    *,
    guide: Guide | None = None,
    index_offset: int = 0,
    **options,
) -> Evidence:
    """log p(x) from both sides for simulated pairs, the walk there and the walk back saved.

    Args:
        store: where.
        key: a PRNG key.
        model: p(z) p(x | z).
        z: the exact posterior draws, from `simulate`.
        x: the observations simulated from them, `[batch, ...]`.
        guide: as in `bayes_jax.evidence_sandwich`.
        index_offset: index of x[0] in the whole data set.
        options: as in `annealed_draws`.

    Returns:
        Evidence of kind SANDWICH.

    Raises:
        InputError: as `bayes_jax.evidence_sandwich`, or a place of other work.
        Interrupted: a signal came; what there is is saved.
    """
    walk = annealing.make_settings(model, guide, **options)
    there = _walked(store.at("there"), key, model, guide, None, x, *walk, index_offset)
    back = _walked(store.at("back"), key, model, guide, z, x, *walk, index_offset)
    return annealing.sandwiched(annealing.weighted_draws(there), annealing.log_weight(back))


def fit_posterior(
    store: Store,
    key: PRNGKeyArray,
    model: LatentModel,
    x: PyTree,
    *,
    guide: Guide | None = None,
    family: FamilyName | Family | None = None,
    batch_size: int | None = None,
    index_offset: int = 0,
    **options,
) -> FittedPosterior:
    """q* fitted to each x by itself, each block of them saved.

    Args:
        store: where.
        key: a PRNG key.
        model: p(z) p(x | z).
        x: `[batch, ...]`.
        guide: where the fit starts; the prior, if None.
        family: that of the guide, if None.
        batch_size: observations in a block, and in memory at once; 64 if None.
        index_offset: index of x[0] in the whole data set.
        options: others of `bayes_jax.fit_posterior`.

    Returns:
        FittedPosterior.

    Raises:
        InputError: as `bayes_jax.fit_posterior`, or a place of other work.
        Interrupted: a signal came; what there is is saved.
    """
    model, guide = compilable(model), compilable(guide)
    check_batch(x, batch_size)
    check_observations(model, x)
    if family is None:
        family = "mean_field" if guide is None else guides_family(guide, x)
    num_rows, size = len(jax.tree.leaves(x)[0]), batch_size or ROWS_PER_CHUNK
    bounds = [*range(0, num_rows, size), num_rows]

    def advance(nothing, chunk):
        first, last = bounds[chunk], bounds[chunk + 1]
        rows = jax.tree.map(lambda leaf: leaf[first:last], x)
        offset = {"index_offset": index_offset + first}
        return nothing, variational.fit_posterior(
            key, model, rows, guide=guide, family=family, **offset, **options
        )

    kept = _fitted_structure(key, model, guide, x, find_family(family))
    shapes = [f"{leaf.dtype}{list(leaf.shape)}" for leaf in abstract(kept.params)]
    counts = {"family": [_family_name(family), *shapes], "size": size, "index_offset": index_offset}
    belongs = _belongs("fit_posterior", key, model, guide, x, {**counts, **options})
    _, parts = carry_out(store, Work(belongs, tuple, advance, len(bounds) - 1, kept))
    return jax.tree.map(lambda *rows: jnp.concatenate(rows), *parts)


# Of the chunks of a warm-up.
_NO_DRAWS = Draws(*[0] * len(Draws._fields))


def _walked(store, key, model, guide, z, x, settings, betas, index_offset) -> annealing.Chains:
    model, guide = compilable(model), compilable(guide)
    lengths = _lengths(len(betas) - 2)

    def begin():
        return annealing.init(
            key, model, x, betas, settings=settings, guide=guide, z=z, index_offset=index_offset
        )

    def advance(chains, chunk):
        moved = annealing.advance(model, x, chains, settings=settings, num_moves=lengths[chunk])
        return moved, ()

    options = {**settings._asdict(), "index_offset": index_offset}
    belongs = _belongs("annealing", key, model, guide, x, options, betas=betas, z=z)
    return carry_out(store, Work(belongs, begin, advance, len(lengths)))[0]


def _lengths(num_moves: int) -> list[int]:
    """Moves of each chunk: all alike if a number of moves near the most divides them.

    One that is shorter compiles a program of its own.
    """
    near = range(MOVES_PER_CHUNK, MOVES_PER_CHUNK // 3, -1)
    length = next((each for each in near if num_moves % each == 0), MOVES_PER_CHUNK)
    bounds = [*range(0, num_moves, length), num_moves]
    return [last - first for first, last in pairwise(bounds)]


def _belongs(engine: str, key, model, guide, x, options: dict[str, Any], **data) -> dict:
    """What the numbers depend on."""
    trees = {"key": key, "model": model, "guide": guide, "x": x, **data}
    return {
        "engine": engine,
        "options": options,
        "kinds": {"model": kinds(model), "guide": kinds(guide)},
        **{name: fingerprint(tree) for name, tree in trees.items()},
    }


def _joined(parts: list[Draws]) -> Draws:
    """The draws of successive chunks as those of one."""
    lengths = np.array([part.log_joint.shape[-1] for part in parts])
    share = jnp.asarray(lengths / lengths.sum(), parts[0].accept.dtype)

    def along_draws(get: Callable[[Draws], PyTree]) -> PyTree:
        return jax.tree.map(lambda *leaves: jnp.concatenate(leaves, axis=2), *map(get, parts))

    def stacked(get: Callable[[Draws], Array]) -> Array:
        return jnp.stack([get(part) for part in parts])

    return Draws(
        z=along_draws(lambda part: part.z),
        log_joint=along_draws(lambda part: part.log_joint),
        energy=along_draws(lambda part: part.energy),
        accept=share @ stacked(lambda part: part.accept),
        diverging=jnp.sum(stacked(lambda part: part.diverging), axis=0),
        num_grads=parts[-1].num_grads,
        valid=jnp.all(stacked(lambda part: part.valid), axis=0),
        from_prior=parts[-1].from_prior,
    )


def _fitted_structure(key, model, guide, x, family: Family) -> FittedPosterior:
    """A FittedPosterior of the structure that a fit returns."""
    row = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), x)
    start = model.prior if guide is None else jax.eval_shape(guide, row)
    params = jax.eval_shape(family.init, key, start)
    return FittedPosterior(params, *[0] * (len(FittedPosterior._fields) - 1))


def _family_name(family: str | Family) -> str:
    return family if isinstance(family, str) else family.constrain.__qualname__
