"""log p(x) of a whole batch by annealing, in one compile: from below, and from both sides."""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from bayes_jax.annealing.chains import (
    joint_density,
    log_weight,
    start_backward,
    start_forward,
    walk,
)
from bayes_jax.annealing.moves import NUM_LEAPFROGS
from bayes_jax.annealing.pilot import make_path
from bayes_jax.annealing.settings import Schedule, make_settings
from bayes_jax.batching import Index, check_batch, map_observations
from bayes_jax.errors import InputError
from bayes_jax.estimates import (
    Evidence,
    WeightedDraws,
    estimated_evidence,
    log_mean_exp,
    log_mean_exp_stderr,
    sandwich_evidence,
)
from bayes_jax.mcmc.engines import NUM_PRIOR_CHAINS, sample_posterior
from bayes_jax.model import Guide, LatentModel, check_observations, compilable


def annealed_evidence(
    key: PRNGKeyArray,
    model: LatentModel,
    x: PyTree,
    *,
    guide: Guide | None = None,
    num_chains: int = 16,
    num_temperatures: int | None = None,
    schedule: Schedule = "sigmoid",
    transition: str = "hmc",
    num_leapfrogs: int = NUM_LEAPFROGS,
    batch_size: int | None = None,
    index_offset: Index = 0,
) -> Evidence:
    """log p(x) from below by annealed importance sampling, for a batch of x.

    Args:
        key: a PRNG key.
        model: p(z) p(x | z).
        x: `[batch, ...]`.
        guide: ONE x -> q(z | x); chains then start at a Gaussian that short separate chains from
            the guide settle, 1.2 times as wide as they are; otherwise at the prior.
        num_chains: independent weights per x. A standard error near 1 nat says that one chain
            carries the estimate, and then not how far below log p(x) it is.
        num_temperatures: steps from start to posterior; 100 with a guide, 1000 without, if None.
        schedule: "sigmoid", "power", "linear", "adaptive" (temperatures for each x where separate
            chains saw the weights spread), or inverse temperatures that rise from 0 to 1.
        transition: "hmc"; "hmc_bfloat16" (the same with forces in half precision and weights in
            full, faster where the device has units for that, and as valid a bound); or "elliptical"
            (slice sampling without gradients or steps, for a Gaussian prior or a guide).
        num_leapfrogs: gradients per move of HMC.
        batch_size: observations in memory at once; None takes all.
        index_offset: index of x[0] in the whole data set.

    Returns:
        Evidence of kind LOWER in nats; the standard error is over chains, NaN for a single one.

    Raises:
        InputError: on x the likelihood gives no density, temperatures that do not rise from 0 to 1,
            or counts that make no sense.

    References:
        Neal, "Annealed importance sampling", 2001, arXiv physics/9803008.
        Wu, Burda, Salakhutdinov, Grosse, 2017, arXiv 1611.04273.
    """
    return annealed_draws(
        key,
        model,
        x,
        guide=guide,
        num_chains=num_chains,
        num_temperatures=num_temperatures,
        schedule=schedule,
        transition=transition,
        num_leapfrogs=num_leapfrogs,
        batch_size=batch_size,
        index_offset=index_offset,
    ).evidence()


def annealed_draws(
    key: PRNGKeyArray,
    model: LatentModel,
    x: PyTree,
    *,
    guide: Guide | None = None,
    num_chains: int = 16,
    num_temperatures: int | None = None,
    schedule: Schedule = "sigmoid",
    transition: str = "hmc",
    num_leapfrogs: int = NUM_LEAPFROGS,
    batch_size: int | None = None,
    index_offset: Index = 0,
) -> WeightedDraws:
    """Where the annealed chains end, weighted: arguments and errors as in `annealed_evidence`.

    Returns:
        WeightedDraws, z `[batch, chain, latent]` and log weights `[batch, chain]`.
    """
    model, guide = compilable(model), compilable(guide)
    settings, betas = make_settings(
        model,
        guide,
        num_chains=num_chains,
        num_temperatures=num_temperatures,
        schedule=schedule,
        transition=transition,
        num_leapfrogs=num_leapfrogs,
        batch_size=batch_size,
    )
    check_batch(x, batch_size)
    check_observations(model, x)
    return _walk(key, model, guide, None, x, betas, index_offset, settings=settings)[0]


def evidence_sandwich(
    key: PRNGKeyArray,
    model: LatentModel,
    z: Float[Array, "batch latent"],
    x: PyTree,
    *,
    guide: Guide | None = None,
    num_chains: int = 16,
    num_temperatures: int | None = None,
    schedule: Schedule = "sigmoid",
    transition: str = "hmc",
    num_leapfrogs: int = NUM_LEAPFROGS,
    batch_size: int | None = None,
    index_offset: Index = 0,
) -> Evidence:
    """log p(x) from both sides, for pairs (z, x) that were simulated from the model.

    Such a z is an exact draw from the posterior of its x; chains that walk back from it to the
    start give an unbiased estimate of 1 / p(x), whose negative logarithm bounds log p(x) from above
    in expectation (Grosse, Ghahramani, Adams 2015, arXiv 1511.02543). For a single x the sides may
    cross; their mean over many does not, but by its standard error.

    Args:
        key: a PRNG key.
        model: p(z) p(x | z).
        z: the exact posterior draws, from `simulate`; draws by MCMC make no bound, see
            `reverse_evidence`.
        x: the observations simulated from them, `[batch, ...]`.
        guide: as in `annealed_evidence`, with all options below.
        num_chains: per x and side.
        num_temperatures: steps of each side.
        schedule: of inverse temperatures.
        transition: the moves.
        num_leapfrogs: gradients per move of "hmc".
        batch_size: observations in memory at once; None takes all.
        index_offset: index of x[0] in the whole data set.

    Returns:
        Evidence of kind SANDWICH in nats. `stderr_upper` is NaN: all reverse chains of an x share
        its one z, so that the error of the upper side can be told from many x only.

    Raises:
        InputError: as in `annealed_evidence`, or z and x that do not pair up.
    """
    model, guide = compilable(model), compilable(guide)
    settings, betas = make_settings(
        model,
        guide,
        num_chains=num_chains,
        num_temperatures=num_temperatures,
        schedule=schedule,
        transition=transition,
        num_leapfrogs=num_leapfrogs,
        batch_size=batch_size,
    )
    check_batch((z, x), batch_size)
    check_observations(model, x)
    there, back = _walk(key, model, guide, z, x, betas, index_offset, settings=settings)
    return sandwiched(there, back)


def sandwiched(there: WeightedDraws, back: Float[Array, "batch chain"]) -> Evidence:
    """log p(x) from both sides, of walks that were made.

    Args:
        there: from a start to the posterior.
        back: log weights of walks from one exact posterior draw back to the start.
    """
    lower = there.evidence()
    return sandwich_evidence(lower.lower, -log_mean_exp(back), lower.stderr_lower)


def reverse_evidence(
    key: PRNGKeyArray,
    model: LatentModel,
    x: PyTree,
    *,
    guide: Guide | None = None,
    num_chains: int = 16,
    num_samples: int = 400,
    num_temperatures: int | None = None,
    schedule: Schedule = "sigmoid",
    num_leapfrogs: int = NUM_LEAPFROGS,
    batch_size: int | None = None,
    index_offset: Index = 0,
) -> Evidence:
    """log p(x) by walks back from long HMC: an estimate, for real x that have no exact z.

    Each chain starts at the last of `num_samples` draws of an HMC chain of its own. It would bound
    log p(x) from above if those were exact draws; where HMC misses a mode they are not.

    Args:
        key: a PRNG key.
        model: p(z) p(x | z).
        x: `[batch, ...]`.
        guide: as in `annealed_evidence`, with the options below.
        num_chains: of HMC, and walks back, per x.
        num_samples: moves of each HMC chain after its warm-up.
        num_temperatures: steps of the walk back.
        schedule: of inverse temperatures.
        num_leapfrogs: gradients per move of the walk back.
        batch_size: observations in memory at once; None takes all.
        index_offset: index of x[0] in the whole data set.

    Returns:
        Evidence of kind ESTIMATE in nats; the standard error is over chains.

    Raises:
        InputError: as in `annealed_evidence`; fewer than 2 chains, which have no standard error.
    """
    if num_chains < 2:
        raise InputError(f"num_chains is {num_chains}: expected at least 2 for a standard error")
    model, guide = compilable(model), compilable(guide)
    key_draws, key_walk = jax.random.split(key)
    rows = {"batch_size": batch_size, "index_offset": index_offset}
    draws = sample_posterior(
        key_draws,
        model,
        x,
        guide=guide,
        # Beside a guide some start from the prior, for the verdict alone.
        num_chains=num_chains + (0 if guide is None else NUM_PRIOR_CHAINS),
        num_samples=num_samples,
        **rows,
    )
    # The last draw of each chain; those from the prior stand last and are left out.
    z = draws.z[:, :num_chains, -1]
    settings, betas = make_settings(
        model,
        guide,
        num_chains=num_chains,
        num_temperatures=num_temperatures,
        schedule=schedule,
        transition="hmc",
        num_leapfrogs=num_leapfrogs,
        batch_size=batch_size,
    )
    _, weights = _walk(
        key_walk, model, guide, z, x, betas, index_offset, settings=settings, forward=False
    )
    return estimated_evidence(-log_mean_exp(weights), log_mean_exp_stderr(weights))


@partial(jax.jit, static_argnames=("settings", "forward"))
def _walk(key, model, guide, z, x, betas, index_offset, *, settings, forward=True):
    """Weighted draws of the walk there and log weights of the walk back from z, if z is given."""

    def one(key, row):
        z, x = row
        key_path, key_there, key_back = jax.random.split(key, 3)
        density = joint_density(model, x)
        path = make_path(key_path, model, density, x, guide=guide, betas=betas, settings=settings)
        starts = [start_forward(key_there, density, path, settings)] if forward else []
        if z is not None:
            starts.append(start_backward(key_back, density, path, z, settings))
        # Both ways in one scan: it compiles once, and products of matrices are twice as large.
        both = jax.tree.map(lambda *sides: jnp.stack(sides), *starts)
        ended = jax.vmap(lambda chains: walk(density, chains, settings))(both)
        weights = log_weight(ended)
        there = WeightedDraws(ended.points.position[0], weights[0], ended.num_grads[0])
        return there if forward else None, weights[-1] if z is not None else None

    return map_observations(
        one, key, (z, x), batch_size=settings.batch_size, index_offset=index_offset
    )
