"""TensorFlow Probability's own annealed importance sampling, tuned on other images.

A peer of benchmarks/evidence.py, made once and called as `annealer(key, x)`. All images and chains
are annealed at once in float32 and give log weights `[image, chain]` with E[w] = p(x).

`sample_annealed_importance_chain` takes no temperatures: its ladder is linear from one density to
another, and its kernel never learns how far it has come. Chained calls mend both without a change
to TFP: each goes linearly from one density on the path to the next, with a step size of its own, so
that the ladder may be any sigmoid in pieces.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpyro.distributions import Distribution
from tensorflow_probability.substrates import jax as tfp

from bayes_jax import log_joint
from bayes_jax.annealing import sigmoid_schedule

# Separate chains that only tune the step sizes: shared out among the pieces of the ladder.
NUM_PILOTS, PILOT_MOVES = 16, 60


class Refreshed(NamedTuple):
    """A TFP kernel that evaluates its density anew before each move.

    `sample_annealed_importance_chain` hands the kernel of beta_t the log density and gradient that
    the kernel of beta_{t-1} left behind. The accept step then compares two different densities, the
    move leaves neither invariant, and the weights are biased (seen in the tests; open upstream as
    tensorflow/probability issue 1429).

    Attributes:
        kernel: the kernel to be mended.
    """

    kernel: tfp.mcmc.TransitionKernel

    def bootstrap_results(self, state):
        """The results of the first state."""
        return self.kernel.bootstrap_results(state)

    def one_step(self, state, previous_results, seed=None):
        """One move, from nothing but the state."""
        del previous_results
        return self.kernel.one_step(state, self.kernel.bootstrap_results(state), seed=seed)


class TFPSettings(NamedTuple):
    """How TFP's AIS is run.

    Attributes:
        knots: inverse temperatures from 0 to 1 between which the ladder is linear; a call each.
        num_steps: temperatures of each call, of one HMC move each.
        num_leapfrogs: of a move.
        target_accept: mean acceptance that the step sizes are tuned to.
        widening: of the guide's scale, where chains start.
    """

    knots: tuple[float, ...] = (0.0, 1.0)
    num_steps: int = 1000
    num_leapfrogs: int = 2
    target_accept: float = 0.7
    widening: float = 1.2


IN_FOUR = tuple(sigmoid_schedule(4).tolist())
CASES = {
    "TFP from the guide, T = 100": ("guide", TFPSettings(num_steps=100)),
    "TFP from the guide, T = 400": ("guide", TFPSettings(num_steps=400)),
    "TFP from the prior, T = 1000": ("prior", TFPSettings(IN_FOUR, num_steps=250)),
}
"""What benchmarks/evidence.py runs: where chains start, and how.

The best of a scan at equal calls of the walk on other test images (benchmarks/tfp_settings.py), in
nats beside ours at 400 temperatures. From the prior a sigmoid in four pieces, -0.06 ± 0.09, where
the plain linear ladder leaves -1.6 ± 0.3; from the guide the linear ladder, -0.02 ± 0.08, for
pieces gained it nothing. From either start two leapfrogs before 1, 5 and 10, an acceptance of 0.7
before 0.6, 0.8 and 0.9, and 1.2 times the guide's scale before 1 and 1.5; settings that came near
differ by less than their errors. What more temperatures buy, one longer walk shows.
"""


def make_tfp(
    model, guide, *, settings: TFPSettings, num_chains: int = 16, refreshed: bool = True
) -> Callable:
    """`tfp.mcmc.sample_annealed_importance_chain` with HMC, one jit for tuning and annealing.

    Chains start at a Gaussian of the guide's mean and `widening` times its scale, or at the prior,
    and move in the coordinates where the start is standard normal: what TFP's documentation advises
    as a step size for each variable. One step size for each image and piece of the ladder, tuned by
    TFP's dual averaging on separate chains that stand at temperatures spread over the piece.

    Args:
        model: p(z) p(x | z).
        guide: ONE x -> q(z | x), or None.
        settings: of the ladder and its moves.
        num_chains: per image.
        refreshed: mend the stale densities (see `Refreshed`); False takes TFP as it is.

    Returns:
        `(key, x [image, ...]) -> (log_weight [image, chain], num_grads)`, with the evaluations of
        log p(x, z), tuning included, that one image costs; those for the weights have no gradient.
    """

    def make_kernel(step_size, density):
        kernel = _hmc(density, step_size, settings.num_leapfrogs)
        return Refreshed(kernel) if refreshed else kernel

    @jax.jit
    def log_weights(key, x):
        key_pilot, key_start, key_anneal = jax.random.split(key, 3)
        loc, scale = _start(model, guide, x, settings.widening)
        density = _with_gradient(partial(_whitened_density, model, x, loc, scale))

        def one_piece(state, piece):
            key, low, high, step_size = piece
            state, log_weight, _ = tfp.mcmc.sample_annealed_importance_chain(
                num_steps=settings.num_steps,
                proposal_log_prob_fn=_on_path(density, low),
                target_log_prob_fn=_on_path(density, high),
                current_state=state,
                make_kernel_fn=partial(make_kernel, step_size),
                seed=key,
            )
            return state, log_weight

        start = jax.random.normal(key_start, (len(x), num_chains, loc.shape[-1]))
        knots = jnp.asarray(settings.knots)
        keys = jax.random.split(key_anneal, len(knots) - 1)
        steps = _tuned_steps(key_pilot, density, loc.shape, settings)
        pieces = keys, knots[:-1], knots[1:], jnp.moveaxis(steps, 1, 0)
        _, log_weight = jax.lax.scan(one_piece, start, pieces)
        return jnp.sum(log_weight, axis=0)

    num_grads = num_evaluations(settings, num_chains)
    return lambda key, x: (log_weights(key, x), num_grads)


def num_evaluations(settings: TFPSettings, num_chains: int) -> int:
    """Evaluations of log p(x, z) that one image costs; the weights' share one with the move's."""
    moves = settings.num_steps * (settings.num_leapfrogs + 1)
    return num_tuning(settings) + num_chains * (len(settings.knots) - 1) * (1 + moves)


def num_tuning(settings: TFPSettings) -> int:
    """Those among them that tune the step sizes."""
    num_pilots = (len(settings.knots) - 1) * _pilots_of_a_piece(settings.knots)
    return num_pilots * (1 + PILOT_MOVES * settings.num_leapfrogs)


def _start(model, guide, x, widening):
    """Mean and scale of the start of every x, `[image, 1, latent]`."""

    def moments(distribution: Distribution):
        return distribution.mean, jnp.sqrt(distribution.variance)

    if guide is None:
        loc, scale = moments(model.prior)
        shape = (len(x), *loc.shape)
        loc, scale = jnp.broadcast_to(loc, shape), jnp.broadcast_to(scale, shape)
    else:
        loc, scale = jax.vmap(lambda x: moments(guide(x)))(x)
        scale = widening * scale
    return loc[:, None], scale[:, None]


def _whitened_density(model, x, loc, scale, noise):
    """log p(x, z) + log |dz / de| at z = loc + scale e, for e `[image, chain, latent]`."""

    def one_image(z, x):
        return jax.vmap(lambda z: log_joint(model, z, x))(z)

    return jax.vmap(one_image)(loc + scale * noise, x) + jnp.sum(jnp.log(scale), axis=-1)


def _with_gradient(density):
    """The same density, whose gradient is taken at once with its value.

    The two ends of a piece both ask for it at the same place; the compiler then sees that one
    gradient serves both.
    """
    density = jax.custom_jvp(density)
    plain = density.fun

    @density.defjvp
    def _tangent(primals, tangents):
        value, pull_back = jax.vjp(plain, *primals)
        (gradient,) = pull_back(jnp.ones_like(value))
        return value, jnp.sum(gradient * tangents[0], axis=-1)

    return density


def _on_path(density, beta):
    """e -> (1 - beta) log N(e; 0, I) + beta log density(e)."""
    return lambda noise: (1 - beta) * _standard_normal(noise) + beta * density(noise)


def _standard_normal(noise):
    return -0.5 * jnp.sum(noise**2 + jnp.log(2 * jnp.pi), axis=-1)


def _hmc(density, step_size, num_leapfrogs):
    # A traced step size is no "simple tensor", of which TFP would warn otherwise.
    return tfp.mcmc.HamiltonianMonteCarlo(
        density, step_size, num_leapfrogs, store_parameters_in_results=True
    )


def _pilots_of_a_piece(knots: Sequence[float]) -> int:
    return max(NUM_PILOTS // (len(knots) - 1), 2)


def _tuned_steps(key, density, shape, settings: TFPSettings):
    """Step sizes `[image, piece, 1, 1]`, from chains that are thrown away."""
    num_images, _, latent_dim = shape
    key_start, key_moves = jax.random.split(key)
    low, high = np.asarray(settings.knots)[:-1], np.asarray(settings.knots)[1:]
    beta = np.linspace(low, high, _pilots_of_a_piece(settings.knots), axis=-1)

    def on_path(noise):
        flat = noise.reshape(num_images, -1, latent_dim)
        value = density(flat).reshape(noise.shape[:-1])
        return (1 - beta) * _standard_normal(noise) + beta * value

    first = jnp.full((num_images, len(low), 1, 1), latent_dim**-0.25)
    # Adapting stops before the last move, which then has the averaged step and not the latest.
    kernel = tfp.mcmc.DualAveragingStepSizeAdaptation(
        _hmc(on_path, first, settings.num_leapfrogs),
        PILOT_MOVES - 1,
        target_accept_prob=settings.target_accept,
    )
    return tfp.mcmc.sample_chain(
        PILOT_MOVES,
        jax.random.normal(key_start, (num_images, *beta.shape, latent_dim)),
        kernel=kernel,
        trace_fn=None,
        return_final_kernel_results=True,
        seed=key_moves,
    ).final_kernel_results.new_step_size
