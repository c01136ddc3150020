"""A VAE whose decoder has a posterior over its weights: what is not known is averaged over.

Encoder and decoder are trained as usual, the decoder towards the mode of its posterior. Then its
weights are drawn from that posterior, while the encoder goes on; every few epochs one draw is kept
as a member. The model is the average over members, and their disagreement says where it is unsure.

The log posterior of the weights is sum_i bound(x_i; weights) + log p(weights): a bound of log p(x)
stands for it, so that what the guide lacks is part of the posterior too.
"""

import functools
import math
from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from bayes_jax.annealing import annealed_model
from bayes_jax.ensemble import averaged_model
from bayes_jax.model import LatentModel
from bayes_jax.sghmc import Walker, normals_like, sghmc_step
from vae_jax.configs import BayesianDecoderConfig, ObservationSpec, WeightPosteriorConfig
from vae_jax.objectives import iwae_terms, make_objective
from vae_jax.objectives.units import summarise, unit_terms
from vae_jax.systems.adam import scale_by_adam
from vae_jax.systems.base import System
from vae_jax.systems.vae import amortized_family

_MEMORY = 0.999  # of Adam's second moments, which the posterior's scale is taken from
# Draws of z in the bound that validation watches; each asks all members.
_NUM_WATCHED = 4
# Each image annealed at once asks all members, too.
_EVIDENCE_BATCH = 64


class Trained(NamedTuple):
    """Params and Adam's moments.

    Attributes:
        params: what is trained.
        opt_state: of Adam.
    """

    params: PyTree
    opt_state: PyTree


class BayesianDecoderState(NamedTuple):
    """What the next step needs.

    Attributes:
        rest: encoder, priors and the head's own params, one value each.
        weights: of the decoder: where the chain stands, or the mode. Adam's moments stay as they
            were when drawing began.
        velocity: of the chain, like the weights.
        members: kept draws of the weights, leaves `[member, ...]`, the oldest overwritten first.
            The newest is where the weights stand.
        num_drawn: how many of them there are so far.
        num_examples: of the training data.
    """

    rest: Trained
    weights: Trained
    velocity: PyTree
    members: PyTree
    num_drawn: Int[Array, ""]
    num_examples: Int[Array, ""]


@functools.cache
def build_bayesian_decoder(config: BayesianDecoderConfig, spec: ObservationSpec) -> System:
    """A VAE with a posterior over the weights of its decoder.

    Args:
        config: the networks, and prior and posterior of the weights.
        spec: the observation.

    Returns:
        A system. Its model is the average over members, so that evidence, annealed from the guide,
        is a stochastic lower bound of the predictive log (1/S) sum_s p(x | theta_s). Validation
        watches the importance-weighted bound of the same, by which the loop chooses the best
        ensemble, or the weights before any were drawn. `bayes_jax.ensemble.disagreement` takes
        `.latent` and `.guide`.

    References:
        Chen, Fox, Guestrin, "Stochastic gradient Hamiltonian Monte Carlo", 2014, arXiv 1402.4102.
        Daxberger, Hernandez-Lobato, "Bayesian variational autoencoders", 2019, arXiv 1912.05651.
    """
    family, in_training = (
        amortized_family(
            config.latent_dim, config.hidden_dims, network, config.posterior, config.prior, spec
        )
        for network in (replace(config.network, dtype="float32"), config.network)
    )
    objective = make_objective(config.objective)
    adam = scale_by_adam(b2=_MEMORY)

    def init(key, batch):
        params = family.init(key, batch)
        weights = params.pop("decoder")
        return BayesianDecoderState(
            Trained(params, adam.init(params)),
            Trained(weights, adam.init(weights)),
            velocity=jax.tree.map(jnp.zeros_like, weights),
            members=jax.tree.map(lambda leaf: _repeated(leaf, config.weights), weights),
            num_drawn=jnp.int32(1),
            num_examples=jnp.int32(len(batch)),
        )

    def step(state, key, batch, *, learning_rate=1e-3):
        key_terms, key_weights = jax.random.split(key)
        params = state.rest.params | {"decoder": state.weights.params}
        gradient, metrics = jax.grad(loss, has_aux=True)(params, key_terms, batch)
        of_weights = gradient.pop("decoder")
        rest = _climbed(adam, state.rest, gradient, learning_rate)

        epoch = state.rest.opt_state.count // jnp.maximum(state.num_examples // len(batch), 1)
        num_drawing = epoch - config.weights.num_warmup_epochs  # epochs
        descent = _with_prior(of_weights, state, config.weights)
        weights, velocity, draw = jax.lax.cond(
            num_drawing >= 0,
            lambda: _drawn(state, key_weights, descent, config.weights, batch_size=len(batch)),
            lambda: _towards_mode(adam, state, descent, learning_rate),
        )
        period = jnp.maximum(num_drawing, 0) // config.weights.num_epochs_between
        slot = period % config.weights.num_members
        members = jax.tree.map(lambda kept, new: kept.at[slot].set(new), state.members, draw)
        num_drawn = jnp.minimum(period + 1, config.weights.num_members)
        metrics["heat"] = _mean_square(velocity)
        new = BayesianDecoderState(rest, weights, velocity, members, num_drawn, state.num_examples)
        return new, metrics

    def loss(params, key, batch):
        def terms(key, x):
            return objective(key, in_training.latent(params), in_training.guide(params), x, jnp.inf)

        each = jax.vmap(terms)(jax.random.split(key, len(batch)), batch)
        metrics = jax.tree.map(jnp.mean, each._asdict())
        return -metrics["objective"], metrics

    def ensemble(state) -> LatentModel:
        def latent(weights):
            return family.latent(state.rest.params | {"decoder": weights})

        # Until all are drawn, some stand twice.
        index = jnp.arange(config.weights.num_members) % state.num_drawn
        members = jax.tree.map(lambda leaf: leaf[index], state.members)
        likelihoods = jax.vmap(lambda weights: latent(weights).likelihood)(members)
        return averaged_model(latent(state.weights.params).prior, likelihoods)

    def evaluate(state, key, batch):
        model, guide = ensemble(state), family.guide(state.rest.params)

        def watched(key, x):
            key_bound, key_units = jax.random.split(key)
            bound = iwae_terms(key_bound, model, guide, x, num_samples=_NUM_WATCHED)
            return bound._asdict() | unit_terms(key_units, guide(x), model.prior)

        return jax.vmap(watched)(jax.random.split(key, len(batch)), batch)

    def generative(state):
        return annealed_model(
            ensemble(state), guide=family.guide(state.rest.params), batch_size=_EVIDENCE_BATCH
        )

    return System(generative, init, step, evaluate, summarise)


def prior_precision(leaf: Float[Array, "..."], config: WeightPosteriorConfig) -> float:
    """1 / variance of p(weight): of the weights of one layer, or of its biases.

    Weights whose variance falls with the inputs of their unit give functions of one size, whatever
    the width (Neal 1996, "Bayesian learning for neural networks").

    Args:
        leaf: `[..., input, output]`, biases `[output]`.
        config: with the scale.
    """
    return math.prod(leaf.shape[:-1]) / config.prior_scale**2


def posterior_scale(
    state: BayesianDecoderState, config: WeightPosteriorConfig, *, batch_size: int
) -> PyTree:
    """Standard deviation of every weight by its own curvature, 1 / sqrt(N F + prior precision).

    F, the mean squared gradient of one example, is batch_size times Adam's second moment of the
    mean gradient, for at the mode that is nothing but noise.

    Args:
        state: after the mode was found.
        config: with the prior.
        batch_size: of the steps that Adam took.

    Returns:
        Like the weights.
    """
    moments = state.weights.opt_state
    factor = batch_size * state.num_examples / (1 - _MEMORY**moments.count)
    return jax.tree.map(
        lambda leaf, square: jax.lax.rsqrt(factor * square + prior_precision(leaf, config)),
        state.weights.params,
        moments.nu,
    )


def _with_prior(gradient, state: BayesianDecoderState, config: WeightPosteriorConfig):
    """The gradient of -log posterior / N."""
    return jax.tree.map(
        lambda g, leaf: g + prior_precision(leaf, config) * leaf / state.num_examples,
        gradient,
        state.weights.params,
    )


def _towards_mode(adam, state: BayesianDecoderState, descent, learning_rate):
    weights = _climbed(adam, state.weights, descent, learning_rate)
    return weights, state.velocity, weights.params


def _drawn(
    state: BayesianDecoderState,
    key: PRNGKeyArray,
    descent: PyTree,
    config: WeightPosteriorConfig,
    *,
    batch_size: int,
) -> tuple[Trained, PyTree, PyTree]:
    """Weights, velocity, and a draw from the posterior: one step on, or one of the Gaussian."""
    scale = posterior_scale(state, config, batch_size=batch_size)
    if config.name == "laplace":
        spread = math.sqrt(config.temperature)
        mode = state.weights.params
        draw = jax.tree.map(
            lambda m, s, n: m + spread * s * n, mode, scale, normals_like(key, mode)
        )
        return state.weights, state.velocity, draw
    walker = sghmc_step(
        Walker(state.weights.params, state.velocity),
        key,
        jax.tree.map(lambda g: -state.num_examples * g, descent),
        scale=scale,
        step_size=config.step_size,
        friction=config.friction,
        temperature=config.temperature,
    )
    return state.weights._replace(params=walker.position), walker.velocity, walker.position


def _climbed(adam, trained: Trained, gradient, learning_rate) -> Trained:
    direction, opt_state = adam.update(gradient, trained.opt_state)
    params = jax.tree.map(lambda p, d: p - learning_rate * d, trained.params, direction)
    return Trained(params, opt_state)


def _repeated(leaf, config: WeightPosteriorConfig):
    return jnp.repeat(leaf[None], config.num_members, axis=0)


def _mean_square(tree) -> Float[Array, ""]:
    leaves = jax.tree.leaves(tree)
    return sum(jnp.sum(leaf**2) for leaf in leaves) / sum(leaf.size for leaf in leaves)
