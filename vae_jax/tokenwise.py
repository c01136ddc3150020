"""p(sentence) as a product over tokens, a NumPyro distribution over rows of tokens.

Rows are those of `bayes_jax.sequences`: after its end token a sentence holds nothing that counts,
and draws stay ended.
"""

import math
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jaxtyping import Array, Float, Int, Num, PRNGKeyArray, PyTree
from numpyro.distributions import constraints

from bayes_jax.sequences import END, in_sentence, stays_ended


class TokenBody(NamedTuple):
    """How params score tokens; equal bodies share functions.

    Attributes:
        log_probs: `(params, previous [length], tokens [length], context) -> [length]` in nats.
        start: `(params, context) -> cache`.
        advance: `(params, cache, index, previous) -> (cache, logits [token])`.
        num_tokens: of the vocabulary; the token of this number begins a sentence.
        length: of a row.
    """

    log_probs: Callable
    start: Callable
    advance: Callable
    num_tokens: int
    length: int


class Tokenwise(dist.Distribution):
    """Tokens one after the other, each given those before it and a context.

    Attributes:
        params: of the network.
        context: seen by all tokens, `[context]`.
        body: what scores the tokens.
    """

    arg_constraints: ClassVar = {}
    pytree_data_fields = ("params", "context")
    pytree_aux_fields = ("body",)

    def __init__(
        self,
        params: PyTree,
        context: Float[Array, " context"],
        *,
        body: TokenBody,
        validate_args: Any = None,
    ):
        """From params and a context that may be empty."""
        self.params, self.context, self.body = params, context, body
        super().__init__(event_shape=(body.length,), validate_args=validate_args)

    @property
    def support(self):
        """Rows of tokens that stay ended."""
        return Rows(self.body.num_tokens)

    def log_prob(self, value: Num[Array, "*sample length"]) -> Float[Array, "*sample"]:
        """The exact log probability in nats, the end token counted."""
        if value.ndim > 1:
            return jax.vmap(self.log_prob)(value)
        tokens = value.astype(jnp.int32)
        before = previous_tokens(tokens, self.body.num_tokens)
        scores = self.body.log_probs(self.params, before, tokens, self.context)
        return jnp.sum(jnp.where(in_sentence(tokens), scores, 0.0))

    def sample(
        self, key: PRNGKeyArray, sample_shape: tuple[int, ...] = ()
    ) -> Int[Array, "*sample length"]:
        """Sentences, token by token in one scan, cut where they are longer than a row."""
        return self.sample_after(key, jnp.zeros(self.body.length, jnp.int32), 0, sample_shape)

    def sample_after(
        self,
        key: PRNGKeyArray,
        row: Num[Array, " length"],
        num_given: int | Int[Array, ""],
        sample_shape: tuple[int, ...] = (),
    ) -> Int[Array, "*sample length"]:
        """Sentences that begin as a given one: exact draws of what follows, in one scan.

        Args:
            key: a PRNG key.
            row: of tokens.
            num_given: how many of them are kept, the first ones.
            sample_shape: of the draws.
        """

        def one(key):
            keys = jax.random.split(key, self.body.length)
            return self._written(jax.random.categorical, keys, row, num_given)

        draws = jax.vmap(one)(jax.random.split(key, math.prod(sample_shape)))
        return draws.reshape(*sample_shape, self.body.length)

    def greedy(self) -> Int[Array, " length"]:
        """The sentence whose every token is the most probable one, given those before it."""
        nothing = jnp.zeros(self.body.length, jnp.int32)
        return self._written(lambda _, logits: jnp.argmax(logits), nothing, nothing, 0)

    def beginning(self, length: int) -> "Tokenwise":
        """The density of the first tokens of a sentence: rows of another, shorter length."""
        return Tokenwise(self.params, self.context, body=self.body._replace(length=length))

    def _written(self, choose, keys, row, num_given):
        """Token after token, `choose(key, logits)` where none is given."""

        def one_token(carry, inputs):
            cache, previous = carry
            index, key, given = inputs
            cache, logits = self.body.advance(self.params, cache, index, previous)
            token = jnp.where(index < num_given, given, choose(key, logits)).astype(jnp.int32)
            token = jnp.where(previous == END, END, token)
            return (cache, token), token

        carry = self.body.start(self.params, self.context), jnp.int32(self.body.num_tokens)
        return jax.lax.scan(one_token, carry, (jnp.arange(self.body.length), keys, row))[1]


def previous_tokens(tokens: Int[Array, " length"], begin: int) -> Int[Array, " length"]:
    """What stands before each token; `begin` before the first."""
    return jnp.pad(tokens, (1, 0), constant_values=begin)[:-1]


class Rows(constraints.Constraint):
    """Whole numbers 0 ... num_tokens - 1, and nothing but the end after an end."""

    is_discrete = True
    event_dim = 1

    def __init__(self, num_tokens: int):
        self.num_tokens = num_tokens

    def __call__(self, x):
        """Whether each x is such a row."""
        is_token = (x >= 0) & (x < self.num_tokens) & (x == jnp.floor(x))
        return jnp.all(is_token, axis=-1) & stays_ended(x)

    def tree_flatten(self):
        """All of it is static."""
        return (), ((), {"num_tokens": self.num_tokens})
