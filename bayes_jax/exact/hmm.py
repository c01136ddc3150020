"""Hidden Markov models by EM: exact evidence of a sequence, exact posterior over its states.

p(x) = sum over s of p(s_1) p(x_1 | s_1) prod_t p(s_t | s_(t-1)) p(x_t | s_t), by the forward
recursion. What EM expects of the states are derivatives of log p(x): to a log transition, how often
it is taken; to a log emission, how probable a state is there.

References:
    Rabiner 1989, "A tutorial on hidden Markov models", https://doi.org/10.1109/5.18626. Derivatives
    as expectations: Eisner 2016, "Inside-outside and forward-backward algorithms are just
    backprop", https://aclanthology.org/W16-5901.
"""

import math
from functools import partial
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax.scipy.special import logit, logsumexp
from jaxtyping import Array, Float, Int, Num, PRNGKeyArray
from numpyro.distributions import constraints

from bayes_jax.errors import InputError
from bayes_jax.exact.climb import best_climb

_BATCH = 1024  # sequences in memory at once

Frames = Num[Array | np.ndarray, "time *frame"]


class BernoulliHMM(NamedTuple):
    """States that emit vectors of bits, independent given the state.

    Attributes:
        log_initial: log p(s_1), `[state]`.
        log_transition: log p(s_t | s_(t-1)), rows sum to one, `[state, state]`.
        logits: log-odds of each bit, `[state, dim]`.
    """

    log_initial: Float[Array, " state"]
    log_transition: Float[Array, "state state"]
    logits: Float[Array, "state dim"]

    support = constraints.boolean

    def emissions(self) -> dist.Distribution:
        """p(x_t | s), batch shape `[state]`."""
        return dist.BernoulliLogits(self.logits).to_event(1)

    def log_emission(self, frames: Frames) -> Float[Array, "time state"]:
        """log p(x_t | s) of every frame."""
        frames = jnp.asarray(frames, self.logits.dtype)
        ones = jnp.matmul(frames, self.logits.T, precision="highest")
        return ones - jnp.sum(jax.nn.softplus(self.logits), axis=1)

    @staticmethod
    def fitted(shares, frames, pseudo_count):
        """Logits of the smoothed frequencies; shares `[num, time, state]`."""
        ones = jnp.einsum("ntk,ntd->kd", shares, frames, precision="highest") + pseudo_count
        total = jnp.sum(shares, axis=(0, 1)) + 2 * pseudo_count
        return logit(ones / total[:, None])


class CategoricalHMM(NamedTuple):
    """States that emit one token each.

    Attributes:
        log_initial: log p(s_1), `[state]`.
        log_transition: log p(s_t | s_(t-1)), rows sum to one, `[state, state]`.
        log_probs: log p(token | s), rows sum to one, `[state, token]`.
    """

    log_initial: Float[Array, " state"]
    log_transition: Float[Array, "state state"]
    log_probs: Float[Array, "state token"]

    @property
    def support(self):
        """The tokens."""
        return constraints.integer_interval(0, self.log_probs.shape[-1] - 1)

    def emissions(self) -> dist.Distribution:
        """p(x_t | s), batch shape `[state]`."""
        return dist.CategoricalLogits(self.log_probs)

    def log_emission(self, frames: Frames) -> Float[Array, "time state"]:
        """log p(x_t | s) of every token."""
        return self.log_probs.T[jnp.asarray(frames, jnp.int32)]

    @staticmethod
    def fitted(shares, frames, pseudo_count, *, num_tokens):
        """Log of the smoothed frequencies; shares `[num, time, state]`."""
        counts = (
            jnp.zeros((num_tokens, shares.shape[-1]))
            .at[frames.ravel()]
            .add(shares.reshape(-1, shares.shape[-1]))
        )
        return _log_shares(counts.T + pseudo_count)


HMM = BernoulliHMM | CategoricalHMM


def log_evidence(
    params: HMM, frames: Frames, length: Int[Array, ""] | int | None = None
) -> Float[Array, ""]:
    """log p(x) in nats, for ONE sequence.

    Args:
        params: of the model.
        frames: `[time, dim]` bits, or `[time]` tokens.
        length: how many of them are there, one at least; all if None. The rest is not looked at.
    """
    return _log_evidence(params[0], params[1], params.log_emission(frames), length)


def posterior_states(
    params: HMM, frames: Frames, length: Int[Array, ""] | int | None = None
) -> Float[Array, "time state"]:
    """p(s_t | x) of every step of ONE sequence, rows summing to 1; 0 beyond its length."""
    table = params.log_emission(frames)
    return jax.grad(_log_evidence, argnums=2)(params[0], params[1], table, length)


class HiddenMarkov(dist.Distribution):
    """p(x) of sequences of one length as a NumPyro distribution.

    Attributes:
        params: of the model.
        num_steps: frames of a sequence.
    """

    arg_constraints: ClassVar = {}
    pytree_data_fields = ("params",)
    pytree_aux_fields = ("num_steps",)

    def __init__(self, params: HMM, num_steps: int, *, validate_args: bool | None = None):
        """From params and a length."""
        self.params, self.num_steps = params, num_steps
        event_shape = (num_steps, *params.emissions().event_shape)
        super().__init__(event_shape=event_shape, validate_args=validate_args)

    @property
    def support(self):
        """Of every bit or token."""
        return constraints.independent(self.params.support, len(self.event_shape))

    def log_prob(self, value: Num[Array | np.ndarray, "..."]) -> Float[Array, "..."]:
        """The exact log probability in nats."""
        if value.ndim > len(self.event_shape):
            return jax.vmap(self.log_prob)(value)
        return log_evidence(self.params, value)

    def sample(self, key: PRNGKeyArray, sample_shape: tuple[int, ...] = ()) -> Num[Array, "..."]:
        """Sequences, frame by frame."""
        keys = jax.random.split(key, math.prod(sample_shape))
        draws = jax.vmap(self._one_draw)(keys)
        return draws.reshape(*sample_shape, *self.event_shape)

    def _one_draw(self, key):
        log_initial, log_transition, table = self.params

        def one_step(log_probs, key):
            key_state, key_frame = jax.random.split(key)
            state = jax.random.categorical(key_state, log_probs)
            emission = type(self.params)(log_initial, log_transition, table[state]).emissions()
            return log_transition[state], emission.sample(key_frame)

        return jax.lax.scan(one_step, log_initial, jax.random.split(key, self.num_steps))[1]


def fit_params(
    key: PRNGKeyArray,
    x: Num[Array | np.ndarray, "num time *frame"],
    *,
    num_states: int,
    lengths: Int[Array | np.ndarray, " num"] | None = None,
    num_tokens: int | None = None,
    pseudo_count: float = 0.5,
    num_restarts: int = 2,
    num_iterations: int = 200,
    tolerance: float = 1e-4,
) -> HMM:
    """Baum-Welch from several random starts at once; the best is kept.

    Args:
        key: a PRNG key, of the starts.
        x: sequences of bits `[num, time, dim]` or of tokens `[num, time]`.
        num_states: hidden states.
        lengths: of the sequences; all of them whole if None.
        num_tokens: how many tokens there are, where x are tokens.
        pseudo_count: of every initial state, transition, bit and token, seen before the data.
        num_restarts: starts, run together; memory is proportional to it.
        num_iterations: most EM steps.
        tolerance: EM stops when a step gains less than so many nats per sequence.

    Returns:
        The parameters of the start with the highest log likelihood plus log prior.

    Raises:
        InputError: data or options that cannot be used.
    """
    x = jnp.asarray(x)
    _check(x, num_states, lengths, num_tokens, pseudo_count)
    if lengths is None:
        lengths = np.full(len(x), x.shape[1])
    lengths = jnp.asarray(lengths)
    x = x.astype(float) if x.ndim == 3 else x.astype(jnp.int32)
    starts = jax.vmap(partial(_start, x, lengths, num_states, num_tokens))(
        jax.random.split(key, num_restarts)
    )
    return _fit(starts, x, lengths, pseudo_count, tolerance, num_iterations)


@partial(jax.jit, static_argnums=5)
def _fit(starts, x, lengths, pseudo_count, tolerance, num_iterations):
    return best_climb(
        lambda params: _em_step(params, x, lengths, pseudo_count),
        starts,
        tolerance=tolerance,
        num_iterations=num_iterations,
    )


def _em_step(params: HMM, x, lengths, pseudo_count):
    """New params, and the objective of the OLD ones in nats per sequence."""
    tables = jax.vmap(params.log_emission)(x)

    def one(sequence):
        return jax.value_and_grad(_log_evidence, (0, 1, 2))(params[0], params[1], *sequence)

    values, (first, taken, shares) = jax.lax.map(one, (tables, lengths), batch_size=_BATCH)
    value, first, taken = (jnp.sum(each, axis=0) for each in (values, first, taken))
    options = {} if x.ndim == 3 else {"num_tokens": params[2].shape[1]}
    new = type(params)(
        _log_shares(first + pseudo_count),
        _log_shares(taken + pseudo_count),
        params.fitted(shares, x, pseudo_count, **options),
    )
    return new, (value + pseudo_count * _log_prior(params)) / len(x)


def _log_prior(params: HMM):
    """Of params seen `pseudo_count` times each, over that count, up to a constant."""
    emission = params[2]
    if isinstance(params, BernoulliHMM):
        emission = jax.nn.log_sigmoid(emission) + jax.nn.log_sigmoid(-emission)
    return sum(jnp.sum(part) for part in (params[0], params[1], emission))


def _log_evidence(log_initial, log_transition, table, length):
    length = len(table) if length is None else length

    def one_step(log_alpha, inputs):
        index, row = inputs
        moved = logsumexp(log_alpha[:, None] + log_transition, axis=0) + row
        return jnp.where(index < length, moved, log_alpha), None

    log_alpha = log_initial + table[0]
    inputs = jnp.arange(1, len(table)), table[1:]
    return logsumexp(jax.lax.scan(one_step, log_alpha, inputs)[0])


def _start(x, lengths, num_states, num_tokens, key):
    """Nearly equal states: as the data are in the mean, each a little different."""
    key_transition, key_emission = jax.random.split(key)
    transition = jax.random.dirichlet(key_transition, jnp.ones((num_states, num_states)))
    log_initial = jnp.full(num_states, -math.log(num_states))
    if x.ndim == 3:
        is_there = jnp.arange(x.shape[1]) < lengths[:, None]
        mean = (jnp.sum(x * is_there[..., None], axis=(0, 1)) + 1) / (jnp.sum(is_there) + 2)
        noise = jax.random.normal(key_emission, (num_states, x.shape[2]))
        return BernoulliHMM(log_initial, jnp.log(transition), logit(mean) + noise)
    probs = jax.random.dirichlet(key_emission, jnp.ones((num_states, num_tokens)))
    return CategoricalHMM(log_initial, jnp.log(transition), jnp.log(probs))


def _log_shares(counts):
    return jnp.log(counts) - jnp.log(jnp.sum(counts, axis=-1, keepdims=True))


def _check(x, num_states, lengths, num_tokens, pseudo_count) -> None:
    if x.ndim not in (2, 3) or 0 in x.shape:
        raise InputError(
            f"x has shape {x.shape}: expected bits [num, time, dim] or tokens [num, time]"
        )
    if x.ndim == 3 and not bool(jnp.all((x == 0) | (x == 1))):
        raise InputError("x holds other values than 0 and 1: expected bits [num, time, dim]")
    if x.ndim == 2 and not (num_tokens and bool(jnp.all((x >= 0) & (x < num_tokens)))):
        raise InputError(
            f"num_tokens is {num_tokens}, x holds {float(jnp.min(x)):g} to {float(jnp.max(x)):g}: "
            "expected tokens 0 ... num_tokens - 1"
        )
    if num_states < 1:
        raise InputError(f"num_states is {num_states}: expected at least 1")
    if not pseudo_count > 0:
        raise InputError(f"pseudo_count is {pseudo_count}: expected a positive number")
    if lengths is not None and (
        np.shape(lengths) != (len(x),) or np.min(lengths) < 1 or np.max(lengths) > x.shape[1]
    ):
        raise InputError(
            f"lengths have shape {np.shape(lengths)}: expected {len(x)} of 1 to {x.shape[1]}"
        )
