"""A VAE's decoder learned by Bayesian inference alone: what does amortization cost, or buy?

Monte Carlo EM: each training image has chains of its own, which a few Hamiltonian moves carry on
whenever the image is in a batch; the decoder climbs the log joint density at their draws (Hoffman
2017, "Learning deep latent Gaussian models with Markov chain Monte Carlo"). There they start from
an encoder; here they start from the prior and are never thrown away.
"""

import functools
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from bayes_jax.annealing import annealed_model
from bayes_jax.annealing.chains import joint_density, log_weight, start_forward, walk
from bayes_jax.annealing.pilot import make_path
from bayes_jax.annealing.schedules import FIXED_SCHEDULES
from bayes_jax.annealing.settings import Settings
from bayes_jax.estimates import log_mean_exp
from bayes_jax.hamiltonian import Point, hmc_move, identity, num_noise, value_and_gradient
from bayes_jax.model import LatentModel
from bayes_jax.noise import standard_normals
from vae_jax.configs import DeepLatentConfig, ObservationSpec, PosteriorConfig, PriorConfig
from vae_jax.systems.base import System
from vae_jax.systems.gradient import GradientState, gradient_system
from vae_jax.systems.vae import amortized_family

# Of the moves; the step size follows it.
_TARGET_ACCEPT, _ADAPTION_RATE = 0.8, 0.05
_FIRST_STEP = 0.1
# Validation watches a bound that one short walk of few chains gives, of a few images. Each has its
# own steps, which take several times the walk to find: steps that images share leave the bounds
# many nats lower, the lower the sharper the decoder.
_WATCHED = Settings(num_chains=2, num_temperatures=100)
_NUM_WATCHED = 32


class DeepLatentState(NamedTuple):
    """What the next step needs.

    Attributes:
        decoder: params and moments, as of any gradient system.
        z: where the chains of every training image stand, `[image, chain, latent]`.
        log_step: log of the step size, the same for all.
    """

    decoder: GradientState
    z: Float[Array, "image chain latent"]
    log_step: Float[Array, ""]


class LogJoint(NamedTuple):
    """What training climbs, for one x, in nats.

    Attributes:
        objective: log p(x, z), mean over the draws; no bound of log p(x).
    """

    objective: Float[Array, ""]


@functools.cache
def build_deep_latent(config: DeepLatentConfig, spec: ObservationSpec) -> System:
    """The decoder of a VAE, by Monte Carlo EM with persistent chains.

    Args:
        config: the decoder and the chains.
        spec: the observation.

    Returns:
        A system over batches of images and their rows. Its evidence is annealed from the prior, as
        there is no guide; validation watches a short walk of that.
    """
    family = amortized_family(
        config.latent_dim,
        config.hidden_dims,
        config.network,
        PosteriorConfig(),
        PriorConfig(),
        spec,
    )
    identity_factor = jnp.eye(config.latent_dim)

    def init_params(key, batch):
        params = family.init(key, batch)
        return {name: params[name] for name in ("decoder", "head")}

    def latent(params) -> LatentModel:
        return family.latent(params | {"encoder": {}, "posterior": {}, "prior": {}})

    def terms(params, key, draws, step):
        del key, step
        x, z = draws
        joint = jax.vmap(joint_density(latent(params), x))(z)
        return LogJoint(jnp.mean(joint))

    decoder = gradient_system(
        init=init_params, terms=terms, generative=latent, optimizer=config.optimizer
    )

    def init(key, batch):
        key_params, key_z = jax.random.split(key)
        x = batch["x"]
        z = standard_normals(key_z, (len(x), config.num_chains, config.latent_dim))
        return DeepLatentState(decoder.init(key_params, x), z, jnp.log(_FIRST_STEP))

    def step(state, key, batch, *, learning_rate=1e-3):
        x, rows = batch["x"], batch["row"].astype(jnp.int32)
        model = latent(state.decoder.params)
        key_moves, key_decoder = jax.random.split(key)
        keys = jax.random.split(key_moves, len(x))
        moved = jax.vmap(partial(_moved, model, config, identity_factor, state.log_step))
        z, accept = moved(keys, x, state.z[rows])
        trained, metrics = decoder.step(
            state.decoder, key_decoder, (x, z), learning_rate=learning_rate
        )
        log_step = state.log_step + _ADAPTION_RATE * (jnp.mean(accept) - _TARGET_ACCEPT)
        metrics["accept"] = jnp.mean(accept)
        return DeepLatentState(trained, state.z.at[rows].set(z), log_step), metrics

    def evaluate(state, key, batch):
        model = decoder.generative(state.decoder)
        keys = jax.random.split(key, len(batch))
        return {"objective": jax.vmap(partial(_watched, model))(keys, batch)}

    def generative(state):
        return annealed_model(decoder.generative(state.decoder), schedule="adaptive")

    return System(generative, init, step, evaluate, is_indexed=True, num_watched=_NUM_WATCHED)


def _moved(
    model: LatentModel,
    config: DeepLatentConfig,
    factor: Float[Array, "latent latent"],
    log_step: Float[Array, ""],
    key: PRNGKeyArray,
    x: PyTree,
    z: Float[Array, "chain latent"],
) -> tuple[Float[Array, "chain latent"], Float[Array, ""]]:
    """The chains of ONE x a few moves on, and how many proposals were accepted."""
    evaluate = value_and_gradient(joint_density(model, x))

    def one_move(points, key):
        noise = standard_normals(key, (len(z), num_noise(z.shape[-1])))
        move = partial(
            hmc_move,
            evaluate=evaluate,
            combine=identity,
            factor=factor,
            step_size=jnp.exp(log_step),
            num_leapfrogs=config.num_leapfrogs,
        )
        points, info = jax.vmap(lambda noise, point: move(noise, point=point))(noise, points)
        return points, jnp.mean(info.accept_prob)

    points = jax.vmap(lambda z: Point(z, evaluate(z)))(z)
    points, accept = jax.lax.scan(one_move, points, jax.random.split(key, config.num_moves))
    return points.position, jnp.mean(accept)


def _watched(model: LatentModel, key: PRNGKeyArray, x: PyTree) -> Float[Array, ""]:
    """A stochastic lower bound of log p(x) for ONE x: annealing with few chains."""
    key_path, key_walk = jax.random.split(key)
    density = joint_density(model, x)
    betas = FIXED_SCHEDULES[_WATCHED.schedule](_WATCHED.num_temperatures)
    path = make_path(key_path, model, density, x, guide=None, betas=betas, settings=_WATCHED)
    chains = walk(density, start_forward(key_walk, density, path, _WATCHED), _WATCHED)
    return log_mean_exp(log_weight(chains))
