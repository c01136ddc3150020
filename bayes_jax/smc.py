"""Tempered sequential Monte Carlo: a second estimator of log p(x), to hold annealing against.

Particles start at exact draws of q0 and climb the inverse temperatures of annealing,

    log f_beta(z) = (1 - beta) log q0(z) + beta log p(x, z),      0 = beta_0 < ... < beta_T = 1.

On each rung they are resampled by their weights, moved by HMC and weighed anew. The normaliser

    Zhat = prod_t (1/N) sum_n w_tn,
    log w_tn = (beta_t - beta_{t-1}) (log p(x, z_tn) - log q0(z_tn)),

has E[Zhat] = p(x) where the ladder is fixed beforehand, and then log Zhat bounds log p(x) from
below in expectation (Del Moral, Doucet, Jasra 2006, arXiv cond-mat/0212648). An ADAPTIVE ladder
takes each beta from where the run's own particles stand: Zhat converges as N grows
(Beskos et al. 2016, arXiv 1306.6462), but E[Zhat] is not p(x) and may lie on either side of it. So
that is an estimate and no bound.

Weights, resampling and normaliser are BlackJAX's; the path and the moves are those of annealing.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from blackjax.smc import adaptive_tempered, tempered
from blackjax.smc.resampling import systematic
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from bayes_jax.annealing import Path, Settings, make_path, sigmoid_schedule
from bayes_jax.annealing.chains import joint_density
from bayes_jax.batching import Index, check_batch, map_observations
from bayes_jax.errors import InputError
from bayes_jax.estimates import (
    Evidence,
    estimated_evidence,
    log_mean_exp,
    log_mean_exp_stderr,
    lower_evidence,
)
from bayes_jax.hamiltonian import Point, hmc_move, identity, num_noise, value_and_gradient
from bayes_jax.model import Guide, LatentModel, check_observations, compilable
from bayes_jax.noise import independent_draws, standard_normals

# Short moves on many rungs beat long moves on few, as in annealing.
NUM_LEAPFROGS = 2
# A start at the prior has farther to go.
TEMPERATURES_WITH_GUIDE, TEMPERATURES_WITHOUT = 20, 100
# An adaptive ladder that is not up by then never will be.
MOST_ADAPTIVE_TEMPERATURES = 1000


class Runs(NamedTuple):
    """Independent runs for a batch of x.

    Attributes:
        log_normaliser: log Zhat of each run in nats, `[batch, run]`.
        num_grads: evaluations of log p(x, z), with its gradient or without, that each x cost, those
            that found its path among them, `[batch]`.
    """

    log_normaliser: Float[Array, "batch run"]
    num_grads: Int[Array, " batch"]

    def evidence(self) -> Evidence:
        """log mean Zhat over the runs: of kind LOWER, if their ladder was fixed beforehand."""
        values = self.log_normaliser
        return lower_evidence(log_mean_exp(values), log_mean_exp_stderr(values))


def smc_evidence(
    key: PRNGKeyArray,
    model: LatentModel,
    x: PyTree,
    *,
    guide: Guide | None = None,
    num_particles: int = 64,
    num_temperatures: int | None = None,
    target_ess: float | None = None,
    num_moves: int = 1,
    num_runs: int = 4,
    batch_size: int | None = None,
    index_offset: Index = 0,
) -> Evidence:
    """log p(x) by tempered sequential Monte Carlo, for a batch of x.

    Particles of one run depend on each other and tell no error; independent runs do. The value is
    log (1/R) sum_r Zhat_r, and its standard error that over the runs.

    Args:
        key: a PRNG key.
        model: p(z) p(x | z).
        x: `[batch, ...]`.
        guide: ONE x -> q(z | x); particles then start at a Gaussian that short separate chains
            from the guide settle, 1.2 times as wide as they are; otherwise at the prior.
        num_particles: N, of each run.
        num_temperatures: T, of the fixed ladder; 20 with a guide, 100 without, if None.
        target_ess: in (0, 1); an adaptive ladder instead, on which each rung is as far from the
            last as particles there could be reweighted to it with this effective fraction.
        num_moves: HMC moves of each particle on each rung.
        num_runs: R, independent runs for each x.
        batch_size: observations in memory at once; None takes all.
        index_offset: index of x[0] in the whole data set.

    Returns:
        Evidence in nats, of kind LOWER on the fixed ladder and ESTIMATE on an adaptive one. The
        standard error of a single run is NaN; so is all of an x whose adaptive ladder came to no
        end within 1000 rungs.

    Raises:
        InputError: on x the likelihood gives no density, or options that make no sense.

    References:
        Del Moral, Doucet, Jasra, "Sequential Monte Carlo samplers", 2006, arXiv cond-mat/0212648.
        Beskos, Jasra, Kantas, Thiery, "On the convergence of adaptive sequential Monte Carlo
        methods", 2016, arXiv 1306.6462.
    """
    runs = smc_runs(
        key,
        model,
        x,
        guide=guide,
        num_particles=num_particles,
        num_temperatures=num_temperatures,
        target_ess=target_ess,
        num_moves=num_moves,
        num_runs=num_runs,
        batch_size=batch_size,
        index_offset=index_offset,
    )
    found = runs.evidence()
    return found if target_ess is None else estimated_evidence(found.lower, found.stderr_lower)


def smc_runs(
    key: PRNGKeyArray,
    model: LatentModel,
    x: PyTree,
    *,
    guide: Guide | None = None,
    num_particles: int = 64,
    num_temperatures: int | None = None,
    target_ess: float | None = None,
    num_moves: int = 1,
    num_runs: int = 4,
    batch_size: int | None = None,
    index_offset: Index = 0,
) -> Runs:
    """The runs behind `smc_evidence`, and what they cost: arguments and errors as there."""
    model, guide = compilable(model), compilable(guide)
    _check_ladder(num_temperatures, target_ess)
    _check_counts(num_particles=num_particles, num_moves=num_moves, num_runs=num_runs)
    check_batch(x, batch_size)
    check_observations(model, x)
    if num_temperatures is None:
        num_temperatures = TEMPERATURES_WITHOUT if guide is None else TEMPERATURES_WITH_GUIDE
    return _runs(
        key,
        model,
        guide,
        x,
        target_ess,
        index_offset,
        num_particles=num_particles,
        num_temperatures=num_temperatures,
        num_moves=num_moves,
        num_runs=num_runs,
        batch_size=batch_size,
    )


@partial(
    jax.jit,
    static_argnames=("num_particles", "num_temperatures", "num_moves", "num_runs", "batch_size"),
)
def _runs(
    key,
    model,
    guide,
    x,
    target_ess,
    index_offset,
    *,
    num_particles,
    num_temperatures,
    num_moves,
    num_runs,
    batch_size,
):
    """The runs of one x share their path."""

    def one(key, x):
        key_path, key_runs = jax.random.split(key)
        density = joint_density(model, x)
        betas = sigmoid_schedule(num_temperatures)
        path = make_path(key_path, model, density, x, guide=guide, betas=betas, settings=Settings())

        def run(key):
            key_start, key_climb = jax.random.split(key)
            particles = independent_draws(key_start, path.start, num_particles)
            if target_ess is None:
                return _climb_fixed(key_climb, density, path, particles, num_moves)
            return _climb_adaptive(key_climb, density, path, particles, target_ess, num_moves)

        log_normaliser, num_rungs = jax.vmap(run)(jax.random.split(key_runs, num_runs))
        # To start a move from a particle, to make it, and to weigh where it ends.
        per_rung = num_particles * (num_moves * (1 + NUM_LEAPFROGS) + 1)
        return Runs(log_normaliser, path.num_grads + per_rung * jnp.sum(num_rungs))

    return map_observations(one, key, x, batch_size=batch_size, index_offset=index_offset)


def _climb_fixed(key, density, path: Path, particles, num_moves):
    """log Zhat and rungs of one run over inverse temperatures that were fixed beforehand."""
    kernel = tempered.build_kernel(*_parts(density, path))

    def rung(state, step):
        key, beta = step
        tuning = _tuning(path, state.tempering_param)
        state, info = kernel(key, state, num_moves, beta, tuning)
        return state, info.log_likelihood_increment

    keys = jax.random.split(key, len(path.betas) - 1)
    _, increments = jax.lax.scan(rung, _init(particles), (keys, path.betas[1:]))
    return jnp.sum(increments), jnp.asarray(len(increments))


def _climb_adaptive(key, density, path: Path, particles, target_ess, num_moves):
    """log Zhat and rungs of one run that chooses its inverse temperatures on the way."""
    kernel = adaptive_tempered.build_kernel(*_parts(density, path), target_ess)

    def below(carry):
        state, _, num_rungs = carry
        return (state.tempering_param < 1) & (num_rungs < MOST_ADAPTIVE_TEMPERATURES)

    def rung(carry):
        state, log_normaliser, num_rungs = carry
        tuning = _tuning(path, state.tempering_param)
        state, info = kernel(jax.random.fold_in(key, num_rungs), state, num_moves, tuning)
        return state, log_normaliser + info.log_likelihood_increment, num_rungs + 1

    start = (_init(particles), jnp.zeros((), particles.dtype), jnp.zeros((), jnp.int32))
    state, log_normaliser, num_rungs = jax.lax.while_loop(below, rung, start)
    return jnp.where(state.tempering_param >= 1, log_normaliser, jnp.nan), num_rungs


def _init(particles) -> tempered.TemperedSMCState:
    """BlackJAX's, with beta an array that a loop can carry."""
    return tempered.init(particles)._replace(tempering_param=jnp.zeros((), particles.dtype))


def _parts(density, path: Path) -> tuple:
    """What BlackJAX tempers: log q0, log p(x, z) - log q0, and the moves and resampling."""

    def bridge(z):
        return density(z) - path.start.log_prob(z)

    return path.start.log_prob, bridge, _move, _start_move, systematic


def _start_move(z, log_density) -> Point:
    return Point(z, value_and_gradient(log_density)(z))


def _move(key, point: Point, log_density, factor, step_size):
    """`hmc_move` as a BlackJAX kernel."""
    noise = standard_normals(key, (num_noise(len(point.position)),), point.position.dtype)
    return hmc_move(
        noise,
        value_and_gradient(log_density),
        identity,
        point,
        factor=factor,
        step_size=step_size,
        num_leapfrogs=NUM_LEAPFROGS,
    )


def _tuning(path: Path, beta) -> dict:
    """Of the moves at beta, off the path; BlackJAX takes a leading axis of 1 as shared by all."""
    return {"factor": path.factor(beta)[None], "step_size": path.step_size(beta)[None]}


def _check_ladder(num_temperatures: int | None, target_ess: float | None) -> None:
    if num_temperatures is not None and target_ess is not None:
        raise InputError(
            f"num_temperatures is {num_temperatures} and target_ess {target_ess}: expected only "
            "one, a fixed ladder or an adaptive one"
        )
    if target_ess is not None and not 0 < target_ess < 1:
        raise InputError(f"target_ess is {target_ess}: expected a fraction between 0 and 1")
    if num_temperatures is not None and num_temperatures < 1:
        raise InputError(f"num_temperatures is {num_temperatures}: expected at least 1")


def _check_counts(**counts: int) -> None:
    for name, count in counts.items():
        if count < 1:
            raise InputError(f"{name} is {count}: expected at least 1")
