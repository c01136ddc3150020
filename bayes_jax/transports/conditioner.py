"""The small network inside a flow: some coordinates in, shift and log scale of others out.

    hidden = tanh(W z + b)        (shift, log scale) = mean over units of V hidden + c

The mean over the hidden units rather than their sum: a step of epsilon in all weights moves a
coordinate by a few epsilon however many units there are, as it does in an affine map, and one
learning rate serves both. Weights are plain arrays: a fit refines them or a network makes them.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

# One map stretches no coordinate by more than e^3: a fit that steps too far comes back.
MOST_LOG_SCALE = 3.0


class ConditionerWeights(NamedTuple):
    """Weights of one hidden layer and two outputs for each moved coordinate.

    Attributes:
        hidden: `[hidden, given]`.
        hidden_bias: `[hidden]`.
        out: `[2, moved, hidden]`, shift and log scale.
        out_bias: `[2, moved]`.
    """

    hidden: Float[Array, "hidden given"]
    hidden_bias: Float[Array, " hidden"]
    out: Float[Array, "2 moved hidden"]
    out_bias: Float[Array, "2 moved"]


def initial_weights(
    key: PRNGKeyArray, num_given: int, num_moved: int, hidden_dim: int
) -> ConditionerWeights:
    """Random hidden units of unit variance under N(0, I), outputs of zero: the identity map.

    Args:
        key: a PRNG key.
        num_given: coordinates in.
        num_moved: coordinates whose shift and scale come out.
        hidden_dim: hidden units.
    """
    key_hidden, key_bias = jax.random.split(key)
    spread = 1 / jnp.sqrt(max(num_given, 1))
    return ConditionerWeights(
        hidden=spread * jax.random.normal(key_hidden, (hidden_dim, num_given)),
        hidden_bias=jax.random.normal(key_bias, (hidden_dim,)),
        out=jnp.zeros((2, num_moved, hidden_dim)),
        out_bias=jnp.zeros((2, num_moved)),
    )


def shift_and_log_scale(
    weights: ConditionerWeights, given: Float[Array, "*batch given"]
) -> tuple[Float[Array, "*batch moved"], Float[Array, "*batch moved"]]:
    """What the moved coordinates are shifted by and the log of what they are scaled by.

    Args:
        weights: of the network, masked where some coordinates must not see others.
        given: the coordinates it sees.

    Returns:
        Shift and log scale, the latter within +-`MOST_LOG_SCALE`.
    """
    hidden = jnp.tanh(given @ weights.hidden.T + weights.hidden_bias)
    shift, log_scale = (
        hidden @ out.T / hidden.shape[-1] + bias
        for out, bias in zip(weights.out, weights.out_bias, strict=True)
    )
    return shift, MOST_LOG_SCALE * jnp.tanh(log_scale / MOST_LOG_SCALE)
