"""Sentences that begin with given tokens, by models of p(sentence) and by those with a latent."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial
from jaxtyping import Array, Int, PRNGKeyArray
from numpyro.distributions import Distribution

from bayes_jax import density, importance
from bayes_jax.model import GenerativeModel, LatentModel

NUM_PARTICLES = 1000
"""Draws of z from its prior, of which those that explain the given tokens are kept."""

Prefix = Int[Array | np.ndarray, " given"]


def continuing(of_sentences: Distribution) -> GenerativeModel:
    """A fitted model from its density over rows, one that has `sample_after`.

    Args:
        of_sentences: p(x), a pytree of its params.
    """
    model = density.generative(of_sentences)
    return model._replace(continuations=partial(continuations_of_density, of_sentences))


def continuations_of_density(
    of_sentences: Distribution, key: PRNGKeyArray, prefix: Prefix, num: int
) -> Int[Array, "num length"]:
    """Exact draws of p(x | x begins with `prefix`), in one compiled scan.

    Args:
        of_sentences: p(x), with `sample_after`.
        key: a PRNG key.
        prefix: tokens, fewer than a row has.
        num: how many draws.
    """
    return _after(of_sentences, key, *_as_row(prefix, of_sentences.event_shape[0]), num=num)


def continuations_of_latent(
    latent: LatentModel, key: PRNGKeyArray, prefix: Prefix, num: int
) -> Int[Array, "num length"]:
    """Draws of p(x | x begins with `prefix`): first z given the prefix, then what follows.

    z comes by importance resampling of `NUM_PARTICLES` draws from its prior, in proportion to how
    probable they make the prefix: exact in the limit of many (Rubin 1988).

    Args:
        latent: p(z) p(x | z), the likelihood a `Tokenwise`.
        key: a PRNG key.
        prefix: tokens, fewer than a row has.
        num: how many draws.
    """
    key_draw, key_choose, key_follow = jax.random.split(key, 3)
    prefix = jnp.asarray(prefix)
    beginning = Partial(_beginning, latent.likelihood, prefix)
    draws = importance.importance_draws(
        key_draw,
        latent._replace(likelihood=beginning),
        prefix[None],
        guide=Partial(_unmoved, latent.prior),
        num_samples=NUM_PARTICLES,
    )
    (z,) = importance.resample(key_choose, draws, num_draws=num)
    (length,) = latent.likelihood(z[0]).event_shape
    return _each_after(latent.likelihood, key_follow, z, *_as_row(prefix, length))


def _as_row(prefix, length):
    """Padded to a row, so that all prefixes share one program; and how many tokens it has."""
    return jnp.pad(jnp.asarray(prefix, jnp.int32), (0, length - len(prefix))), len(prefix)


def _beginning(likelihood, prefix, z):
    return likelihood(z).beginning(len(prefix))


def _unmoved(prior, x):
    del x  # The prior is the proposal, whatever was given.
    return prior


@partial(jax.jit, static_argnames="num")
def _after(of_sentences, key, row, num_given, *, num):
    return of_sentences.sample_after(key, row, num_given, (num,))


@jax.jit
def _each_after(likelihood, key, z, row, num_given):
    def one(key, z):
        return likelihood(z).sample_after(key, row, num_given)

    return jax.vmap(one)(jax.random.split(key, len(z)), z)
