"""Finding the bridge of ONE x: start, preconditioner, step sizes and, if asked, temperatures.

Everything random in here comes from draws and chains that are thrown away, so that the weighted
chains walk a bridge that does not depend on them: then their weights stay unbiased. A step size
that adapted to the weighted chains themselves would void the bound.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree
from numpyro.distributions import Distribution

from bayes_jax.annealing.moves import TRANSITIONS
from bayes_jax.annealing.path import GaussianStart, Path, gaussian_prior, gaussian_start
from bayes_jax.annealing.schedules import equal_spread_schedule, sigmoid_schedule
from bayes_jax.annealing.settings import Settings
from bayes_jax.mcmc import hmc
from bayes_jax.mcmc.adaptation import initial_step_size
from bayes_jax.mcmc.targets import make_target
from bayes_jax.model import Guide, LatentModel
from bayes_jax.noise import independent_draws
from bayes_jax.transports import affine_from_draws

# A start wider than the posterior: weights of a narrow start have heavy tails.
GUIDE_WIDENING = 1.2
NUM_START_DRAWS = 1000
# The separate chains that go on from the guide: moves of their warm-up, and kept ones.
NUM_SETTLING_CHAINS, NUM_SETTLING_MOVES, NUM_SETTLING_LEAPFROGS = 16, 10, 4
# Warm-up of the separate chains that find the posterior's covariance when no guide knows it.
NUM_COVARIANCE_MOVES = 60
# The separate chains that find the step size: so many knots along beta, moves at each, chains.
NUM_STEP_KNOTS = 16
NUM_STEP_MOVES = 4
NUM_STEP_CHAINS = 4
# Of the step size search: where it goes, and its gain in log step per unit of acceptance.
TARGET_ACCEPT = 0.8
STEP_GAIN = 0.7


def make_path(
    key: PRNGKeyArray,
    model: LatentModel,
    density: Callable,
    x: PyTree,
    *,
    guide: Guide | None,
    betas: Float[Array, " step"],
    settings: Settings,
) -> Path:
    """Fix the bridge of ONE x.

    Args:
        key: a PRNG key.
        model: p(z) p(x | z).
        density: z -> log p(x, z).
        x: one observation.
        guide: x -> q(z | x); the start is then a Gaussian with the mean and 1.2 times the scale of
            short chains from its draws ("elliptical": of its draws), otherwise the prior.
        betas: inverse temperatures; with the schedule "adaptive" only their number counts.
        settings: of the walk.
    """
    key_start, key_pilot = jax.random.split(key)
    make = _from_prior if guide is None else _from_guide
    start, basis, precision, num_grads = make(key_start, model, density, x, guide, settings)
    return pilot(
        key_pilot, density, unscouted_path(start, basis, precision, betas, num_grads), settings
    )


def unscouted_path(
    start: Distribution | GaussianStart,
    basis: Float[Array, "latent latent"],
    precision: Float[Array, " latent"],
    betas: Float[Array, " step"],
    num_grads: int | Int[Array, ""] = 0,
) -> Path:
    """A bridge whose steps are yet a guess; `pilot` finds them."""
    log_step = jnp.full(NUM_STEP_KNOTS, jnp.log(initial_step_size(len(precision))))
    knots = sigmoid_schedule(NUM_STEP_KNOTS - 1)
    return Path(start, betas, basis, precision, knots, log_step, jnp.asarray(num_grads))


def pilot(key: PRNGKeyArray, density: Callable, path: Path, settings: Settings) -> Path:
    """Anneal a few separate chains over the knots, steering the step to the target acceptance.

    Where they go, the spread of U says where an adaptive schedule puts its temperatures.

    Args:
        key: a PRNG key.
        density: z -> log p(x, z).
        path: from `unscouted_path`.
        settings: of the walk.
    """
    is_adaptive = settings.schedule == "adaptive"
    if settings.transition == "elliptical" and not is_adaptive:
        return path  # There is no step to find.
    transition = TRANSITIONS[settings.transition]
    key_start, key_moves = jax.random.split(key)
    target = transition.target(density, path.start)

    def one_move(carry, step):
        points, log_step = carry
        key, beta = step
        moved = transition.move(
            key, target, path, points, beta, jnp.exp(log_step), settings.num_leapfrogs
        )
        log_step = log_step + STEP_GAIN * (jnp.mean(moved.accept_prob) - TARGET_ACCEPT)
        return (moved.points, log_step), (log_step, moved.points.terms.bridge, moved.num_grads)

    points = jax.vmap(target.start)(independent_draws(key_start, path.start, NUM_STEP_CHAINS))
    num_starting = NUM_STEP_CHAINS * (1 + target.num_settling)
    keys = jax.random.split(key_moves, NUM_STEP_KNOTS * NUM_STEP_MOVES)
    steps = (keys, jnp.repeat(path.knots, NUM_STEP_MOVES))
    _, (log_step, bridge, num_grads) = jax.lax.scan(one_move, (points, path.log_step[0]), steps)
    path = path._replace(
        log_step=jnp.mean(log_step.reshape(NUM_STEP_KNOTS, NUM_STEP_MOVES), axis=1),
        num_grads=path.num_grads + num_starting + jnp.sum(num_grads),
    )
    if not is_adaptive:
        return path
    spread = jnp.std(bridge.reshape(NUM_STEP_KNOTS, -1), axis=1)
    return path._replace(betas=equal_spread_schedule(path.knots, spread, len(path.betas) - 1))


def _from_prior(key, model, density, x, guide, settings):
    del x, guide
    if settings.transition == "elliptical":
        start = gaussian_prior(model.prior)
        return start, start.factor, jnp.ones_like(start.loc), 0
    key_start, key_target = jax.random.split(key)
    num_chains = settings.num_chains
    draws = independent_draws(key_start, model.prior, max(NUM_START_DRAWS, num_chains))
    start_factor = affine_from_draws(draws).scale_tril
    target_factor = _posterior_factor(key_target, density, draws[:num_chains], start_factor)
    basis, precision = joint_basis(start_factor, target_factor)
    num_grads = hmc.num_gradients(num_chains, NUM_COVARIANCE_MOVES)
    return model.prior, basis, precision, num_grads


def _from_guide(key, model, density, x, guide, settings):
    del model
    key_guide, key_chains = jax.random.split(key)
    draws = independent_draws(key_guide, guide(x), NUM_START_DRAWS)
    whitening, num_grads = affine_from_draws(draws), 0
    if settings.transition != "elliptical":
        draws = _settled_draws(
            key_chains, density, draws[:NUM_SETTLING_CHAINS], whitening.scale_tril
        )
        whitening = affine_from_draws(draws)
        num_grads = hmc.num_gradients(
            NUM_SETTLING_CHAINS, 2 * NUM_SETTLING_MOVES, num_leapfrogs=NUM_SETTLING_LEAPFROGS
        )
    start = gaussian_start(whitening.loc, GUIDE_WIDENING * whitening.scale_tril)
    return start, start.factor, jnp.full_like(start.loc, GUIDE_WIDENING**2), num_grads


def _settled_draws(key, density, positions, factor) -> Float[Array, "draw latent"]:
    """Draws of short separate chains from the guide: where it is off for an x, they are not.

    On a trained 20-d decoder the mean width of the sandwich at 100 temperatures was 0.36 nat
    straight from the guide, and 0.01 from the mean and covariance of these draws.
    """
    target = make_target(density)
    options = {"num_leapfrogs": NUM_SETTLING_LEAPFROGS}
    state = hmc.init(target, positions, factor)
    state = hmc.warm_up(key, target, state, num_warmup=NUM_SETTLING_MOVES, **options)
    _, kept = hmc.sample(
        key, target, state, num_samples=NUM_SETTLING_MOVES, first=NUM_SETTLING_MOVES, **options
    )
    return kept.z.reshape(-1, kept.z.shape[-1])


def _posterior_factor(key, density, positions, factor) -> Float[Array, "latent latent"]:
    target = make_target(density)
    state = hmc.init(target, positions, factor)
    return hmc.warm_up(key, target, state, num_warmup=NUM_COVARIANCE_MOVES).tuning.factor


def joint_basis(
    start_factor: Float[Array, "latent latent"], target_factor: Float[Array, "latent latent"]
) -> tuple[Float[Array, "latent latent"], Float[Array, " latent"]]:
    """The basis in which start covariance is the identity and the target's is diagonal.

    The precision at beta, (1 - beta) start + beta target, is then diagonal for every beta, as it is
    exactly along the path between two Gaussians.

    Args:
        start_factor: L0, start covariance is L0 L0ᵀ.
        target_factor: L1, likewise.

    Returns:
        basis B `[latent, latent]` with B Bᵀ = L0 L0ᵀ and the target's precisions in it `[latent]`.
    """
    ratio = solve_triangular(target_factor, start_factor, lower=True)
    # Of ratioᵀ ratio the eigenvalues would lose, and in float32 even make negative, the precisions
    # near 1 of latents that the data leave alone beside others that they pin down.
    _, precision_root, rotation = jnp.linalg.svd(ratio)
    return start_factor @ rotation.T, precision_root**2
