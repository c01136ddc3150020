"""NumPyro's NUTS for the chains of ONE x: the reference the batched sampler is held against."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray
from numpyro.infer.hmc import hmc

from bayes_jax.hamiltonian import MoveInfo


def sample(
    key: PRNGKeyArray,
    log_density: Callable,
    positions: Float[Array, "chain latent"],
    *,
    num_warmup: int,
    num_samples: int,
) -> tuple[Float[Array, "chain draw latent"], Array, MoveInfo, Array]:
    """Warm up and sample independent chains, each with its own dense mass matrix and step size.

    Returns:
        positions `[chain, draw, latent]`, log densities `[chain, draw]`, how the moves went, and
        the gradients spent by all chains.
    """
    keys = jax.random.split(key, positions.shape[0])

    def chain(key, position):
        # NumPyro's two kernels share state through a closure: both belong inside one trace.
        init_kernel, sample_kernel = hmc(lambda z: -log_density(z), algo="NUTS")
        state = init_kernel(position, num_warmup, dense_mass=True, rng_key=key)

        def one_step(state, _):
            state = sample_kernel(state)
            info = MoveInfo(state.accept_prob, state.energy, state.diverging)
            return state, (state.z, -state.potential_energy, info, state.num_steps)

        state, warm = jax.lax.scan(one_step, state, length=num_warmup)
        _, (z, log_joint, info, steps) = jax.lax.scan(one_step, state, length=num_samples)
        return z, log_joint, info, jnp.sum(warm[3]) + jnp.sum(steps) + 1

    z, log_joint, info, grads = jax.vmap(chain)(keys, positions)
    return z, log_joint, info, jnp.sum(grads)
