"""Systems of sentences: the language model, whose log p(sentence) is exact."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from bayes_jax import density
from bayes_jax.errors import InputError
from bayes_jax.sequences import in_sentence
from vae_jax.configs import LanguageModelConfig, SequenceConfig, TextSpec
from vae_jax.networks.sequence import CausalAttention, CausalGRU, TokenNetwork
from vae_jax.systems.base import System
from vae_jax.systems.gradient import gradient_system
from vae_jax.tokenwise import TokenBody, Tokenwise


class LogProb(NamedTuple):
    """What training maximises, for one sentence, in nats.

    Attributes:
        objective: log p(x).
    """

    objective: Float[Array, ""]


class TokenFamily(NamedTuple):
    """A network of tokens, ready to be trained.

    Attributes:
        init: `(key, batch, context) -> params`.
        body: as it is evaluated.
        in_training: `key -> TokenBody` that drops features by that key.
    """

    init: Callable
    body: TokenBody
    in_training: Callable


@functools.cache
def build_language_model(config: LanguageModelConfig, spec: TextSpec) -> System:
    """A network of tokens without a latent.

    Args:
        config: the network.
        spec: the rows of tokens.

    Returns:
        A gradient system whose evidence is exact.
    """
    family = token_family(config.network, spec)
    nothing = jnp.zeros(0)

    def init(key, batch):
        return family.init(key, batch, nothing)

    def terms(params, key, x, step):
        del key, step
        return LogProb(Tokenwise(params, nothing, body=family.body).log_prob(x))

    def step_terms(params, key, x, step):
        del step
        return LogProb(Tokenwise(params, nothing, body=family.in_training(key)).log_prob(x))

    def generative(params):
        return density.generative(Tokenwise(params, nothing, body=family.body))

    return gradient_system(
        init=init,
        terms=terms,
        generative=generative,
        optimizer=config.optimizer,
        step_terms=step_terms,
    )


@functools.cache
def token_family(config: SequenceConfig, spec: TextSpec) -> TokenFamily:
    """The network that a config names, over the rows of a spec.

    Args:
        config: the network.
        spec: the rows of tokens.
    """
    module = TokenNetwork(_core(config, spec), spec.num_tokens, config.dropout_rate)

    def init(key, batch, context):
        _check_rows(batch, spec)
        row = jnp.zeros(spec.length, jnp.int32)
        params = module.init(key, row, row, context)
        return {"params": {**params["params"], "bias": _log_frequencies(batch, spec.num_tokens)}}

    body = TokenBody(
        log_probs=module.apply,
        start=functools.partial(module.apply, method=module.start),
        advance=functools.partial(module.apply, method=module.advance),
        num_tokens=spec.num_tokens,
        length=spec.length,
    )

    def in_training(key):
        log_probs = functools.partial(module.apply, is_training=True, rngs={"dropout": key})
        return body._replace(log_probs=log_probs)

    return TokenFamily(init, body, in_training)


def _core(config: SequenceConfig, spec: TextSpec):
    if config.network == "gru":
        return CausalGRU(config.width, config.num_layers)
    return CausalAttention(config.width, config.num_layers, config.num_heads, spec.length)


def _log_frequencies(batch, num_tokens) -> Float[Array, " token"]:
    """Of the tokens of some sentences, each seen once before."""
    seen = jnp.zeros(num_tokens).at[batch.astype(jnp.int32)].add(in_sentence(batch)) + 1
    return jnp.log(seen / jnp.sum(seen))


def _check_rows(batch, spec: TextSpec) -> None:
    if batch.shape[1:] != (spec.length,):
        raise InputError(
            f"x has shape {batch.shape}, the system is built for [batch, {spec.length}]: expected "
            "rows as long as the spec says"
        )
