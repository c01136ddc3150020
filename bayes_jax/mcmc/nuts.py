"""NumPyro's NUTS for the chains of ONE x: the reference the batched sampler is held against."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray
from numpyro.infer.hmc import hmc
from numpyro.infer.util import ParamInfo

from bayes_jax.mcmc.kept import Kept


class NUTSState(NamedTuple):
    """The chains of one x, each with its own dense mass matrix and step size.

    Attributes:
        chains: NumPyro's HMCState, leaves `[chain, ...]`.
        num_grads: gradients spent by all chains so far.
    """

    chains: Any
    num_grads: Int[Array, ""]


def init(
    key: PRNGKeyArray,
    log_density: Callable,
    positions: Float[Array, "chain latent"],
    *,
    num_warmup: int,
) -> NUTSState:
    """NumPyro's initial state: unit mass and step size, which each chain adapts for itself.

    Args:
        key: of this x; the state draws its noise from it.
        log_density: z -> nats.
        positions: where the chains start.
        num_warmup: moves of the whole warm-up.
    """
    keys = jax.random.split(key, positions.shape[0])

    def chain(key, position):
        return _kernels(log_density, num_warmup)[0](key, position)

    chains = jax.vmap(chain)(keys, positions)
    return NUTSState(chains, jnp.asarray(positions.shape[0], jnp.int32))


def warm_up(
    log_density: Callable, state: NUTSState, *, num_warmup: int, num_moves: int
) -> NUTSState:
    """`num_moves` of the `num_warmup` moves that adapt each chain."""
    return _run(log_density, state, num_moves=num_moves, num_warmup=num_warmup)[0]


def sample(
    log_density: Callable, state: NUTSState, *, num_samples: int, num_warmup: int
) -> tuple[NUTSState, Kept]:
    """`num_samples` moves, kept."""
    state, kept = _run(log_density, state, num_moves=num_samples, num_warmup=num_warmup)
    z, potential_energy, energy, accept_prob, diverging = kept
    return state, Kept(z, -potential_energy, energy, jnp.mean(accept_prob), jnp.sum(diverging))


def _run(log_density, state, *, num_moves, num_warmup):
    def chain(start):
        init_kernel, move = _kernels(log_density, num_warmup)
        # Only for what it leaves in the closure; with the potential given, it evaluates nothing.
        init_kernel(start.rng_key, ParamInfo(start.z, start.potential_energy, start.z_grad))

        def one_move(state, _):
            state = move(state)
            kept = (state.z, state.potential_energy, state.energy)
            return state, ((*kept, state.accept_prob, state.diverging), state.num_steps)

        return jax.lax.scan(one_move, start, length=num_moves)

    chains, (kept, num_steps) = jax.vmap(chain)(state.chains)
    return NUTSState(chains, state.num_grads + jnp.sum(num_steps)), kept


def _kernels(log_density, num_warmup):
    """How to start a chain, and its move.

    NumPyro's two kernels share state through a closure: both belong inside one trace.
    """
    init_kernel, move = hmc(lambda z: -log_density(z), algo="NUTS")

    def start(key, params):
        return init_kernel(params, num_warmup, dense_mass=True, rng_key=key)

    return start, move
