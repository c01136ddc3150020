"""Systems of sentences whose evidence is exact: a hidden Markov model by EM, Kneser-Ney n-grams."""

import functools
import math
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jax.scipy.special import logsumexp
from jaxtyping import Array, Float, Int, Num, PRNGKeyArray

from bayes_jax.exact import hmm, ngram
from bayes_jax.sequences import END, in_sentence, lengths
from vae_jax.completions import continuing
from vae_jax.configs import NGramConfig, TextHMMConfig, TextSpec
from vae_jax.systems.base import System
from vae_jax.tokenwise import Rows


class MarkovSentences(dist.Distribution):
    """Sentences of a hidden Markov model that emits the end token as any other.

    Attributes:
        params: of the model.
        length: of a row.
    """

    arg_constraints: ClassVar = {}
    pytree_data_fields = ("params",)
    pytree_aux_fields = ("length",)

    def __init__(
        self, params: hmm.CategoricalHMM, length: int, *, validate_args: bool | None = None
    ):
        """From params and the length of a row."""
        self.params, self.length = params, length
        super().__init__(event_shape=(length,), validate_args=validate_args)

    @property
    def support(self):
        """Rows of tokens that stay ended."""
        return Rows(self.params.log_probs.shape[-1])

    def log_prob(self, value: Num[Array, "*sample length"]) -> Float[Array, "*sample"]:
        """The exact log probability in nats, the end token counted."""
        if value.ndim > 1:
            return jax.vmap(self.log_prob)(value)
        return hmm.log_evidence(self.params, value, lengths(value))

    def sample(
        self, key: PRNGKeyArray, sample_shape: tuple[int, ...] = ()
    ) -> Int[Array, "*sample length"]:
        """Sentences, cut where they are longer than a row."""
        return self.sample_after(key, jnp.zeros(self.length, jnp.int32), 0, sample_shape)

    def sample_after(
        self,
        key: PRNGKeyArray,
        row: Num[Array, " length"],
        num_given: int | Int[Array, ""],
        sample_shape: tuple[int, ...] = (),
    ) -> Int[Array, "*sample length"]:
        """As `Tokenwise.sample_after`: what follows is drawn from the chain in its state there."""
        follows = hmm.HiddenMarkov(self._state_after(row, num_given), self.length)

        def one(key):
            x = jnp.roll(follows.sample(key), num_given)
            x = jnp.where(jnp.arange(self.length) < num_given, row, x)
            return jnp.where(in_sentence(x), x, END).astype(jnp.int32)

        draws = jax.vmap(one)(jax.random.split(key, math.prod(sample_shape)))
        return draws.reshape(*sample_shape, self.length)

    def _state_after(self, row, num_given) -> hmm.CategoricalHMM:
        """The same chain, begun after the given tokens."""
        last = hmm.posterior_states(self.params, row, num_given)[num_given - 1]
        moved = logsumexp(jnp.log(last)[:, None] + self.params.log_transition, axis=0)
        log_initial = jnp.where(num_given > 0, moved, self.params.log_initial)
        return self.params._replace(log_initial=log_initial)


@functools.cache
def build_text_hmm(config: TextHMMConfig, spec: TextSpec) -> System:
    """States that emit one token each, by EM.

    Args:
        config: the number of states.
        spec: the rows of tokens.

    Returns:
        An exact system.
    """

    def fit(key, x):
        return hmm.fit_params(
            key,
            x.astype(jnp.int32),
            num_states=config.num_states,
            lengths=lengths(x),
            num_tokens=spec.num_tokens,
            num_iterations=config.num_iterations,
        )

    def init(key, batch):
        del key, batch
        num = config.num_states
        emission = jnp.zeros((num, spec.num_tokens))
        return hmm.CategoricalHMM(jnp.zeros(num), jnp.zeros((num, num)), emission)

    def generative(params):
        return continuing(MarkovSentences(params, spec.length))

    return System(generative=generative, init=init, fit=fit)


@functools.cache
def build_ngram(config: NGramConfig, spec: TextSpec) -> System:
    """Kneser-Ney n-grams. Their state is the training sentences themselves.

    How many n-grams there are depends on the data, and their keys need 64 bits: no checkpoint of
    known shapes could hold the counts. They are made anew of the sentences, which takes a second.

    Args:
        config: the order.
        spec: the rows of tokens.

    Returns:
        An exact system.
    """

    def fit(key, x):
        del key  # Counts are not random.
        return jnp.asarray(x, jnp.int32)

    def generative(rows):
        params = ngram.fit_params(rows, num_tokens=spec.num_tokens, order=config.order)
        return ngram.generative(params, length=spec.length)

    return System(generative=generative, init=fit, fit=fit)
