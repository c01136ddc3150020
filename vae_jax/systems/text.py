"""Systems of sentences: the language model, whose log p(sentence) is exact, and the text VAE.

The VAE's decoder is the language model, given z. Its perplexity comes from an estimate of log p
(importance or annealing), never from the ELBO without saying that it is an upper bound then.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.tree_util import Partial
from jaxtyping import Array, Float

from bayes_jax.annealing import annealed_evidence
from bayes_jax.errors import InputError
from bayes_jax.model import GenerativeModel, LatentModel, simulate
from bayes_jax.sequences import in_sentence
from vae_jax.completions import continuations_of_latent, continuing
from vae_jax.configs import LanguageModelConfig, SequenceConfig, TextSpec, TextVAEConfig
from vae_jax.networks.sequence import CausalAttention, CausalGRU, TokenEncoder, TokenNetwork
from vae_jax.objectives import make_objective
from vae_jax.objectives.units import unit_terms
from vae_jax.posteriors import make_posterior
from vae_jax.priors import standard_normal
from vae_jax.systems.base import System
from vae_jax.systems.gradient import BATCH_AXIS, gradient_system
from vae_jax.systems.vae import Family
from vae_jax.tokenwise import TokenBody, Tokenwise

# Sentences annealed at once, all chains of each.
EVIDENCE_BATCH = 64


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
        in_training: `(key, *, word_dropout_rate=0) -> TokenBody` that drops features, and tokens
            that are read, by that key. It scores all rows of a `vmap` named BATCH_AXIS together.
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
        return continuing(Tokenwise(params, nothing, body=family.body))

    return gradient_system(
        init=init,
        terms=terms,
        generative=generative,
        optimizer=config.optimizer,
        step_terms=step_terms,
    )


@functools.cache
def build_text_vae(config: TextVAEConfig, spec: TextSpec) -> System:
    """A sentence encoder, a latent and a decoder of tokens (Bowman et al. 2016, arXiv 1511.06349).

    Args:
        config: the networks, the objective, and how many words are dropped.
        spec: the rows of tokens.

    Returns:
        A gradient system that counts active units; its evidence is annealed from the guide.
    """
    family, in_training = text_family(config, spec)
    objective = make_objective(config.objective)

    def terms(params, key, x, step):
        return objective(key, family.latent(params), family.guide(params), x, step)

    def step_terms(params, key, x, step):
        key_drop, key_draw = jax.random.split(key)
        return objective(key_draw, *in_training(params, key_drop), x, step)

    def of_units(params, key, x):
        return unit_terms(key, family.guide(params)(x), family.latent(params).prior)

    def generative(params):
        latent, guide = family.latent(params), family.guide(params)
        return GenerativeModel(
            sample=lambda key, num: simulate(key, latent, num)[1],
            log_evidence=lambda key, x: annealed_evidence(
                key, latent, x, guide=guide, batch_size=EVIDENCE_BATCH
            ),
            latent=latent,
            guide=guide,
            continuations=functools.partial(continuations_of_latent, latent),
        )

    return gradient_system(
        init=family.init,
        terms=terms,
        generative=generative,
        optimizer=config.optimizer,
        step_terms=step_terms,
        unit_terms=of_units,
    )


@functools.cache
def text_family(config: TextVAEConfig, spec: TextSpec) -> tuple[Family, Callable]:
    """Encoder and decoder of sentences.

    Args:
        config: the networks.
        spec: the rows of tokens.

    Returns:
        The family, and `(params, key) -> (latent, guide)` of a training step, which drop features,
        and tokens that the decoder reads, by that key.
    """
    prior = standard_normal(config.latent_dim)
    q = make_posterior(config.posterior, config.latent_dim)
    tokens = token_family(config.decoder, spec)
    encoder = TokenEncoder(
        _core(config.encoder, spec),
        spec.num_tokens,
        q.num_features,
        config.encoder.dropout_rate,
    )

    def init(key, batch):
        key_encoder, key_decoder, key_posterior = jax.random.split(key, 3)
        return {
            "encoder": encoder.init(key_encoder, jnp.zeros(spec.length, jnp.int32)),
            "posterior": q.initial_params(key_posterior),
            "decoder": tokens.init(key_decoder, batch, jnp.zeros(config.latent_dim)),
        }

    def decode(params, z):
        return Tokenwise(params, z, body=tokens.body)

    def encode(params, x, **options):
        features = encoder.apply(params["encoder"], x.astype(jnp.int32), **options)
        return q.distribution(features, params["posterior"])

    def guide(params):
        return Partial(encode, {name: params[name] for name in ("encoder", "posterior")})

    def latent(params):
        return LatentModel(prior, Partial(decode, params["decoder"]))

    def in_training(params, key):
        key_decoder, key_encoder = jax.random.split(key)
        body = tokens.in_training(key_decoder, word_dropout_rate=config.word_dropout_rate)
        options = {"is_training": True, "rngs": {"dropout": key_encoder}}
        return (
            LatentModel(prior, functools.partial(Tokenwise, params["decoder"], body=body)),
            functools.partial(encode, params, **options),
        )

    return Family(init, latent, guide), in_training


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

    def in_training(key, *, word_dropout_rate=0.0):
        key_words, key_features = jax.random.split(key)

        def log_probs(params, previous, tokens, context):
            is_dropped = jax.random.bernoulli(key_words, word_dropout_rate, previous.shape)
            previous = jnp.where(is_dropped, spec.num_tokens, previous)
            options = {"batch_axis": BATCH_AXIS, "rngs": {"dropout": key_features}}
            return module.apply(params, previous, tokens, context, **options)

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
