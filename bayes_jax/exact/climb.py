"""Expectation maximization from several starts at once; the best is kept.

References:
    Dempster, Laird, Rubin 1977, "Maximum likelihood from incomplete data via the EM algorithm",
    https://doi.org/10.1111/j.2517-6161.1977.tb01600.x.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree


def best_climb(
    step: Callable,
    starts: PyTree,
    *,
    tolerance: Float[Array, ""] | float,
    num_iterations: Int[Array, ""] | int,
) -> PyTree:
    """Climb from every start until a step gains too little. Traced: callers carry the `jit`.

    Args:
        step: `params -> (new params, objective of the OLD ones)`, in nats per observation; one
            that never falls.
        starts: params, their leaves `[start, ...]`.
        tolerance: a climb stops when a step gains less.
        num_iterations: most steps of a climb.

    Returns:
        The params of the climb whose objective ends highest.
    """

    def one_climb(start):
        def one_more(state):
            params, value, _, num = state
            params, new_value = step(params)
            return params, new_value, new_value - value, num + 1

        def unfinished(state):
            return (state[2] >= tolerance) & (state[3] < num_iterations)

        infinity = jnp.asarray(jnp.inf, float)
        state = (start, -infinity, infinity, jnp.asarray(0))
        return jax.lax.while_loop(unfinished, one_more, state)[:2]

    params, values = jax.vmap(one_climb)(starts)
    return jax.tree.map(lambda leaf: leaf[jnp.nanargmax(values)], params)
