"""Annealed importance sampling: a stochastic lower bound on log p(x), tight where others are not.

Chains start at exact draws of a start distribution q0 and follow

    log f_beta(z) = (1 - beta) log q0(z) + beta log p(x, z),      0 = beta_0 < ... < beta_T = 1,

by one HMC move at each temperature in between. The weight of a chain,

    log w = sum_t (beta_t - beta_{t-1}) (log p(x, z_{t-1}) - log q0(z_{t-1})),

has E[w] = p(x), so log mean w bounds log p(x) from below in expectation (Neal 2001,
arXiv physics/9803008). This holds because each move is fixed before the chain runs: its step size
is a table over beta, found by SEPARATE chains, and never looks at the chain's own past.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular
from jax.tree_util import Partial
from jaxtyping import Array, Float, PRNGKeyArray, PyTree
from numpyro.distributions import Distribution

from bayes_jax.batching import check_batch, map_observations
from bayes_jax.errors import InputError
from bayes_jax.estimates import Evidence, WeightedDraws
from bayes_jax.hamiltonian import Point, hmc_move, num_noise
from bayes_jax.mcmc import hmc
from bayes_jax.mcmc.adaptation import initial_step_size
from bayes_jax.mcmc.targets import make_target
from bayes_jax.model import Guide, LatentModel, check_observations, compilable, log_joint
from bayes_jax.noise import independent_draws, standard_normals
from bayes_jax.transports import affine_from_draws

# At equal cost many short moves beat few long ones: on a trained 16-d decoder two leapfrogs at 250
# temperatures left half the standard error of five at 100.
NUM_LEAPFROGS = 2
# A start wider than the posterior: weights of a narrow start have heavy tails.
GUIDE_WIDENING = 1.2
NUM_START_DRAWS = 1000
# Warm-up of the separate chains that find the posterior's covariance when no guide knows it.
NUM_COVARIANCE_MOVES = 60
# The separate chains that find the step size: so many knots along beta, moves at each, chains.
NUM_STEP_KNOTS = 16
NUM_STEP_MOVES = 4
NUM_STEP_CHAINS = 4
# Of the step size search: where it goes, and its gain in log step per unit of acceptance.
TARGET_ACCEPT = 0.8
STEP_GAIN = 0.7


class GaussianStart(NamedTuple):
    """N(loc, factor factorᵀ) with the inverse at hand.

    NumPyro's MultivariateNormal solves a triangular system in each density and gradient, which for
    small decoders costs as much as the decoder.

    Attributes:
        loc: `[latent]`.
        factor: lower triangular, `[latent, latent]`.
        inverse: of the factor.
    """

    loc: Float[Array, " latent"]
    factor: Float[Array, "latent latent"]
    inverse: Float[Array, "latent latent"]

    def sample(self, key: PRNGKeyArray) -> Float[Array, " latent"]:
        """One exact draw."""
        return self.loc + self.factor @ jax.random.normal(key, self.loc.shape, self.loc.dtype)

    def log_prob(self, z: Float[Array, " latent"]) -> Float[Array, ""]:
        """The normalised log density in nats."""
        noise = self.inverse @ (z - self.loc)
        log_determinant = jnp.sum(jnp.log(jnp.diagonal(self.factor)))
        return -0.5 * jnp.sum(noise**2 + jnp.log(2 * jnp.pi)) - log_determinant


class Path(NamedTuple):
    """The bridge of one x, fixed before any weighted chain runs.

    Attributes:
        start: q0, normalised, with exact draws.
        basis: `[latent, latent]`, turns q0 into the identity and the target into a diagonal.
        precision: the target's precisions in that basis, `[latent]`.
        log_step: log step size at the knots of beta, `[knot]`.
    """

    start: Distribution | GaussianStart
    basis: Float[Array, "latent latent"]
    precision: Float[Array, " latent"]
    log_step: Float[Array, " knot"]


class Terms(NamedTuple):
    """log q0 and log p(x, z) - log q0 at one z, with gradients: all temperatures from one pass."""

    start: Float[Array, ""]
    bridge: Float[Array, ""]
    start_gradient: Float[Array, " latent"]
    bridge_gradient: Float[Array, " latent"]


def sigmoid_schedule(num_temperatures: int, *, sharpness: float = 4.0) -> Float[Array, " step"]:
    """Inverse temperatures 0 = beta_0 < ... < beta_T = 1, dense at both ends.

    Args:
        num_temperatures: T, the number of steps.
        sharpness: delta of Wu et al. 2017 (arXiv 1611.04273, section 4).

    Returns:
        `[T + 1]`.
    """
    raw = jax.nn.sigmoid(jnp.linspace(-sharpness, sharpness, num_temperatures + 1))
    return ((raw - raw[0]) / (raw[-1] - raw[0])).at[-1].set(1.0)


def annealed_evidence(
    key: PRNGKeyArray,
    model: LatentModel,
    x: PyTree,
    *,
    guide: Guide | None = None,
    num_chains: int = 16,
    num_temperatures: int | None = None,
    batch_size: int | None = None,
    index_offset: int = 0,
) -> Evidence:
    """log p(x) from below by annealed importance sampling, for a batch of x.

    Args:
        key: a PRNG key.
        model: p(z) p(x | z).
        x: `[batch, ...]`.
        guide: ONE x -> q(z | x); chains then start at a Gaussian of the guide's mean and 1.2 times
            its scale, otherwise at the prior.
        num_chains: independent weights per x. A standard error near 1 nat says that one chain
            carries the estimate, and then not how far below log p(x) it is.
        num_temperatures: moves from start to posterior; 100 with a guide, 1000 without, if None.
        batch_size: observations in memory at once; None takes all.
        index_offset: index of x[0] in the whole data set.

    Returns:
        Evidence of kind LOWER in nats; the standard error is over chains.

    Raises:
        InputError: on x the likelihood gives no density, or counts that make no sense.

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
    batch_size: int | None = None,
    index_offset: int = 0,
) -> WeightedDraws:
    """Where the annealed chains end, weighted: arguments and errors as in `annealed_evidence`.

    Returns:
        WeightedDraws, z `[batch, chain, latent]` and log weights `[batch, chain]`.
    """
    model, guide = compilable(model), compilable(guide)
    if num_temperatures is None:
        num_temperatures = 1000 if guide is None else 100
    _check_counts(num_chains, num_temperatures)
    check_batch(x, batch_size)
    check_observations(model, x)
    return _annealed_draws(
        key,
        model,
        guide,
        x,
        index_offset,
        num_chains=num_chains,
        num_temperatures=num_temperatures,
        batch_size=batch_size,
    )


@partial(jax.jit, static_argnames=("num_chains", "num_temperatures", "batch_size"))
def _annealed_draws(
    key, model, guide, x, index_offset, *, num_chains, num_temperatures, batch_size
):
    betas = sigmoid_schedule(num_temperatures)
    num_grads = num_gradients(num_chains, num_temperatures, prior_started=guide is None)

    def one(key, x):
        key_path, key_anneal = jax.random.split(key)
        density = Partial(_joint_density, model, x)
        path = make_path(key_path, model, density, x, guide=guide, num_chains=num_chains)
        z, log_weight = anneal(key_anneal, density, path, betas, num_chains=num_chains)
        return WeightedDraws(z, log_weight, jnp.asarray(num_grads))

    return map_observations(one, key, x, batch_size=batch_size, index_offset=index_offset)


def anneal(
    key: PRNGKeyArray, density, path: Path, betas: Float[Array, " step"], *, num_chains: int
) -> tuple[Float[Array, "chain latent"], Float[Array, " chain"]]:
    """Run independent chains of ONE x from q0 to the posterior; pure.

    Args:
        key: a PRNG key.
        density: z -> log p(x, z).
        path: the bridge, fixed beforehand.
        betas: inverse temperatures from 0 to 1.
        num_chains: how many.

    Returns:
        The last z of each chain, and its log weight in nats.
    """
    key_start, key_moves = jax.random.split(key)
    evaluate = _terms(density, path.start)

    def one_step(carry, step):
        points, log_weight = carry
        key, beta, increment = step
        log_weight = log_weight + increment * points.terms.bridge
        points, _ = _moves(key, evaluate, path, points, beta, _step_size(path, beta))
        return (points, log_weight), None

    points = _start_points(key_start, evaluate, path, num_chains)
    increments = jnp.diff(betas)
    keys = jax.random.split(key_moves, len(betas) - 2)
    (points, log_weight), _ = jax.lax.scan(
        one_step,
        (points, jnp.zeros_like(points.terms.bridge)),
        (keys, betas[1:-1], increments[:-1]),
    )
    return points.position, log_weight + increments[-1] * points.terms.bridge


def make_path(
    key: PRNGKeyArray, model: LatentModel, density, x: PyTree, *, guide: Guide | None, num_chains
) -> Path:
    """Fix the bridge of ONE x: start, preconditioner and the table of step sizes.

    Everything random in here comes from draws that are thrown away, so that the weighted chains
    run on a bridge that does not depend on them.
    """
    key_start, key_target, key_step = jax.random.split(key, 3)
    if guide is None:
        start = model.prior
        draws = independent_draws(key_start, start, max(NUM_START_DRAWS, num_chains))
        start_factor = affine_from_draws(draws).scale_tril
        target_factor = _posterior_factor(key_target, density, draws[:num_chains], start_factor)
        basis, precision = joint_basis(start_factor, target_factor)
    else:
        whitening = affine_from_draws(independent_draws(key_start, guide(x), NUM_START_DRAWS))
        basis = GUIDE_WIDENING * whitening.scale_tril
        precision = jnp.full(len(basis), GUIDE_WIDENING**2)
        inverse = solve_triangular(basis, jnp.eye(len(basis), dtype=basis.dtype), lower=True)
        start = GaussianStart(whitening.loc, basis, inverse)
    log_step = jnp.full(NUM_STEP_KNOTS, jnp.log(initial_step_size(len(precision))))
    path = Path(start, basis, precision, log_step)
    return path._replace(log_step=_tune_steps(key_step, density, path))


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


def num_gradients(num_chains: int, num_temperatures: int, *, prior_started: bool) -> int:
    """Gradients of log p(x, z) that one x costs, the separate tuning chains included."""
    anneal = num_chains * (1 + (num_temperatures - 1) * NUM_LEAPFROGS)
    steps = NUM_STEP_CHAINS * (1 + NUM_STEP_KNOTS * NUM_STEP_MOVES * NUM_LEAPFROGS)
    covariance = hmc.num_gradients(num_chains, NUM_COVARIANCE_MOVES) if prior_started else 0
    return anneal + steps + covariance


def _joint_density(model, x, z):
    return log_joint(model, z, x)


def _terms(density, start: Distribution | GaussianStart):
    start_value = jax.value_and_grad(start.log_prob)
    target_value = jax.value_and_grad(density)

    def evaluate(z) -> Terms:
        start_log_prob, start_gradient = start_value(z)
        target, target_gradient = target_value(z)
        return Terms(
            start_log_prob,
            target - start_log_prob,
            start_gradient,
            target_gradient - start_gradient,
        )

    return evaluate


def _start_points(key, evaluate, path: Path, num_chains: int) -> Point:
    z = independent_draws(key, path.start, num_chains)
    return Point(z, jax.vmap(evaluate)(z))


def _moves(key, evaluate, path: Path, points: Point, beta, step_size):
    """One move of every chain at inverse temperature beta."""

    def combine(terms: Terms):
        return (
            terms.start + beta * terms.bridge,
            terms.start_gradient + beta * terms.bridge_gradient,
        )

    factor = path.basis / jnp.sqrt(1 - beta + beta * path.precision)

    def move(noise, point):
        return hmc_move(
            noise,
            evaluate,
            combine,
            point,
            factor=factor,
            step_size=step_size,
            num_leapfrogs=NUM_LEAPFROGS,
        )

    num_chains, dim = points.position.shape
    noise = standard_normals(key, (num_chains, num_noise(dim)), points.position.dtype)
    return jax.vmap(move)(noise, points)


def _knots() -> Float[Array, " knot"]:
    return sigmoid_schedule(NUM_STEP_KNOTS - 1)


def _step_size(path: Path, beta):
    return jnp.exp(jnp.interp(beta, _knots(), path.log_step))


def _tune_steps(key, density, path: Path) -> Float[Array, " knot"]:
    """Anneal a few separate chains over the knots, steering the step to the target acceptance."""
    key_start, key_moves = jax.random.split(key)
    evaluate = _terms(density, path.start)

    def one_move(carry, step):
        points, log_step = carry
        key, beta = step
        points, info = _moves(key, evaluate, path, points, beta, jnp.exp(log_step))
        log_step = log_step + STEP_GAIN * (jnp.mean(info.accept_prob) - TARGET_ACCEPT)
        return (points, log_step), log_step

    points = _start_points(key_start, evaluate, path, NUM_STEP_CHAINS)
    betas = jnp.repeat(_knots(), NUM_STEP_MOVES)
    keys = jax.random.split(key_moves, len(betas))
    _, log_steps = jax.lax.scan(one_move, (points, path.log_step[0]), (keys, betas))
    return jnp.mean(log_steps.reshape(NUM_STEP_KNOTS, NUM_STEP_MOVES), axis=1)


def _posterior_factor(key, density, positions, factor) -> Float[Array, "latent latent"]:
    target = make_target(density)
    state = hmc.init(target, positions, factor)
    return hmc.warm_up(key, target, state, num_warmup=NUM_COVARIANCE_MOVES).tuning.factor


def _check_counts(num_chains: int, num_temperatures: int) -> None:
    if num_chains < 1:
        raise InputError(f"num_chains is {num_chains}: expected at least 1")
    if num_temperatures < 2:
        raise InputError(f"num_temperatures is {num_temperatures}: expected at least 2")
