"""Generative adversarial networks: no likelihood in training, and one given afterwards.

G(z) alone has no density over images. Under an observation model around it, N(G(z), s^2) for grey
pixels and Bernoulli(G(z)) for bits, it is a latent variable model like any other, with an evidence
by annealing (Wu, Burda, Salakhutdinov, Grosse 2017, arXiv 1611.04273).
"""

import functools
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jax.tree_util import Partial
from jaxtyping import Array, Float, Int, PyTree

from bayes_jax.annealing import annealed_model
from bayes_jax.errors import InputError
from bayes_jax.model import LatentModel
from vae_jax import adversarial
from vae_jax.configs import GANConfig, ObservationSpec
from vae_jax.likelihoods.binary import MIN_PROBABILITY, bernoulli_features
from vae_jax.likelihoods.gaussian import normal
from vae_jax.networks import make_networks, with_output_bias
from vae_jax.priors import standard_normal
from vae_jax.systems.adam import scale_by_adam
from vae_jax.systems.base import System

# Adam's decay rates for two players: no momentum to overshoot with (Gulrajani et al. 2017).
_BETAS = {"b1": 0.0, "b2": 0.9}
# Generated images that a validation image is held against.
_NUM_SCORED = 512
_LOSSES = {
    "non_saturating": (
        adversarial.non_saturating_critic,
        adversarial.non_saturating_generator,
    ),
    "wasserstein": (adversarial.wasserstein_critic, adversarial.wasserstein_generator),
}


class Player(NamedTuple):
    """Params and Adam's moments.

    Attributes:
        params: of the network.
        opt_state: of Adam.
    """

    params: PyTree
    opt_state: PyTree


class GANState(NamedTuple):
    """What the next step needs.

    Attributes:
        critic: who tells real from generated.
        generator: who makes images.
        average: moving average of the generator's params, which is evaluated.
        count: steps made.
    """

    critic: Player
    generator: Player
    average: PyTree
    count: Int[Array, ""]


@functools.cache
def build_gan(config: GANConfig, spec: ObservationSpec) -> System:
    """A GAN with a penalty on the critic's slope.

    Args:
        config: networks and loss.
        spec: the observation, bits or dequantized pixels.

    Returns:
        A system whose validation objective is minus the energy score: no likelihood is at hand in
        training. Its evidence is annealed from the prior, under the observation model.

    Raises:
        InputError: another head than bernoulli or gaussian.
    """
    if spec.head not in ("bernoulli", "gaussian"):
        raise InputError(f"gan on a {spec.head} head: expected observation bernoulli or gaussian")
    critic, generator = make_networks(
        config.network,
        config.hidden_dims,
        spec,
        num_encoder_features=1,
        num_decoder_features=spec.dim,
    )
    critic_loss, generator_loss = _LOSSES[config.loss]
    adam = scale_by_adam(**_BETAS)

    def draw(params, key, num):
        z = jax.random.normal(key, (num, config.latent_dim))
        return jax.vmap(partial(generate, params))(z)

    def generate(params, z):
        return jax.nn.sigmoid(generator.apply(params, z))

    def judge(params, x):
        return critic.apply(params, x)[0]

    def init(key, batch):
        key_critic, key_generator = jax.random.split(key)
        of_generator = generator.init(key_generator, jnp.zeros(config.latent_dim))
        of_generator = with_output_bias(of_generator, bernoulli_features(batch))
        players = [
            Player(params, adam.init(params))
            for params in (critic.init(key_critic, jnp.zeros(spec.dim)), of_generator)
        ]
        return GANState(*players, of_generator, jnp.int32(0))

    def step(state, key, batch, *, learning_rate=1e-4):
        key_fake, key_critic, key_generator, key_score = jax.random.split(key, 4)
        fake = draw(state.generator.params, key_fake, len(batch))

        def of_critic(params):
            return critic_loss(key_critic, partial(judge, params), batch, fake, penalty=penalty)

        def of_generator(params):
            images = draw(params, key_generator, len(batch))
            return generator_loss(jax.vmap(partial(judge, state.critic.params))(images))

        penalty = config.penalty
        loss, gradient = jax.value_and_grad(of_critic)(state.critic.params)
        state = state._replace(critic=_moved(adam, state.critic, gradient, learning_rate))
        is_turn = state.count % config.num_critic_steps == config.num_critic_steps - 1

        def move(player):
            return _moved(adam, player, jax.grad(of_generator)(player.params), learning_rate)

        moved = jax.lax.cond(is_turn, move, lambda player: player, state.generator)
        # An average of few steps forgets its start.
        decay = jnp.minimum(config.average_decay, (1 + state.count) / (10 + state.count))
        average = jax.tree.map(
            lambda old, new: decay * old + (1 - decay) * new, state.average, moved.params
        )
        samples = draw(moved.params, key_score, max(2, len(batch)))
        score = jnp.mean(adversarial.energy_score(batch, samples))
        metrics = {"objective": -score, "critic_loss": loss}
        return state._replace(generator=moved, average=average, count=state.count + 1), metrics

    def evaluate(state, key, batch):
        key_draw, key_bits = jax.random.split(key)
        samples = images(key_bits, draw(state.average, key_draw, _NUM_SCORED))
        return {"objective": -adversarial.energy_score(batch, samples)}

    def images(key, means):
        """Grey images are the means themselves; bits are drawn."""
        if spec.head == "gaussian":
            return means
        return jax.random.bernoulli(key, means).astype(means.dtype)

    def decode(params, z):
        mean = generate(params, z)
        if spec.head == "gaussian":
            return normal(mean, config.scale)
        clipped = jnp.clip(mean, MIN_PROBABILITY, 1 - MIN_PROBABILITY)
        return dist.BernoulliProbs(clipped).to_event(1)

    def generative(state):
        latent = LatentModel(standard_normal(config.latent_dim), Partial(decode, state.average))
        annealed = annealed_model(latent, schedule="adaptive")
        return annealed._replace(sample=partial(_sample, images, draw, state.average))

    return System(generative, init, step, evaluate, unit="pixels")


def _sample(images, draw, params, key, num: int) -> Float[Array, "num dim"]:
    """What the generator makes; the noise around it only lends it an evidence."""
    key_draw, key_bits = jax.random.split(key)
    return images(key_bits, draw(params, key_draw, num))


def _moved(adam, player: Player, gradient, learning_rate: float | Float[Array, ""]) -> Player:
    direction, opt_state = adam.update(gradient, player.opt_state)
    params = jax.tree.map(lambda p, d: p - learning_rate * d, player.params, direction)
    return Player(params, opt_state)
