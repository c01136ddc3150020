"""The samplers that benchmarks/posterior_sampling.py holds against each other.

Each is made once for a model, `make(model, guide) -> sampler`, and called as `sampler(key, x)` for
any x `[posterior, ...]`; it gives draws `[posterior, chain, draw, latent]`. The peers run as their
documentation recommends, one posterior after another unless the name says otherwise, and compile
once: NumPyro's MCMC object is reused with `jit_model_args`, BlackJAX runs inside one jit over x.
"""

from collections.abc import Callable
from functools import partial

import blackjax
import jax
import jax.numpy as jnp
import numpy as np
import optax
from numpyro.infer import MCMC, NUTS
from numpyro.infer.hmc import hmc as numpyro_hmc

from bayes_jax import log_joint, sample_posterior, to_numpyro
from bayes_jax.estimates import Draws

NUTS_CHAINS, NUTS_WARMUP, NUTS_DRAWS = 4, 1000, 1000
CHEES_CHAINS, CHEES_WARMUP, CHEES_DRAWS = 16, 1000, 1000
CHEES_LEARNING_RATE = 0.02


def ours(model, guide, **options) -> Callable:
    """`sample_posterior` with its defaults, and whatever is changed."""

    def sampler(key, x) -> Draws:
        return sample_posterior(key, model, x, guide=guide, **options)

    return sampler


def numpyro_nuts(model, guide, *, dense_mass: bool = False) -> Callable:
    """NumPyro's MCMC(NUTS), 4 vectorized chains, one object for all x; as it comes, or dense."""
    del guide
    mcmc = MCMC(
        NUTS(to_numpyro(model), dense_mass=dense_mass),
        num_warmup=NUTS_WARMUP,
        num_samples=NUTS_DRAWS,
        num_chains=NUTS_CHAINS,
        chain_method="vectorized",
        progress_bar=False,
        jit_model_args=True,
    )

    def sampler(key, x):
        draws = []
        for key_x, observed in zip(jax.random.split(key, len(x)), x, strict=True):
            mcmc.run(key_x, observed)
            draws.append(np.asarray(mcmc.get_samples(group_by_chain=True)["z"]))
        return np.stack(draws)

    return sampler


def numpyro_vmapped(model, guide) -> Callable:
    """NumPyro's NUTS kernel vmapped over all x and 4 chains of each."""
    del guide

    def chain(key, x):
        init, move = numpyro_hmc(lambda z: -log_joint(model, z, x), algo="NUTS")
        key_start, key_chain = jax.random.split(key)
        start = model.prior.sample(key_start)
        state = init(start, NUTS_WARMUP, dense_mass=False, rng_key=key_chain)
        state = jax.lax.fori_loop(0, NUTS_WARMUP, lambda _, state: move(state), state)

        def one_move(state, _):
            state = move(state)
            return state, state.z

        return jax.lax.scan(one_move, state, length=NUTS_DRAWS)[1]

    @jax.jit
    def sampler(key, x):
        keys = jax.random.split(key, (len(x), NUTS_CHAINS))
        return jax.vmap(jax.vmap(chain, (0, None)))(keys, x)

    return sampler


def blackjax_nuts(model, guide) -> Callable:
    """BlackJAX's NUTS after its window adaptation of a dense mass matrix, 4 chains."""
    del guide

    def chain(key, x):
        key_start, key_warm, key_draws = jax.random.split(key, 3)
        density = partial(_density, model, x)
        warm = blackjax.window_adaptation(
            blackjax.nuts, density, is_mass_matrix_diagonal=False, adaptation_info_fn=_nothing
        )
        start = model.prior.sample(key_start)
        (state, parameters), _ = warm.run(key_warm, start, num_steps=NUTS_WARMUP)
        move = blackjax.nuts(density, **parameters).step
        return _draws(key_draws, move, state, NUTS_DRAWS)

    @jax.jit
    def sampler(key, x):
        keys = jax.random.split(key, (len(x), NUTS_CHAINS))
        return jax.lax.map(lambda row: jax.vmap(chain, (0, None))(*row), (keys, x))

    return sampler


def blackjax_chees(model, guide) -> Callable:
    """BlackJAX's ChEES-HMC with its diagonal metric, 16 chains started at the guide."""

    def posterior(key, x):
        key_start, key_warm, key_draws = jax.random.split(key, 3)
        density = partial(_density, model, x)
        warm = blackjax.chees_adaptation(
            density,
            CHEES_CHAINS,
            adaptation_info_fn=_nothing,
            mass_matrix_estimation="diagonal",
        )
        starts = jax.vmap(guide(x).sample)(jax.random.split(key_start, CHEES_CHAINS))
        optimizer = optax.adam(CHEES_LEARNING_RATE)
        (states, parameters), _ = warm.run(key_warm, starts, 0.1, optimizer, CHEES_WARMUP)
        move = jax.vmap(blackjax.dynamic_hmc(density, **parameters).step)
        draws = _draws(key_draws, move, states, CHEES_DRAWS, num_chains=CHEES_CHAINS)
        return jnp.swapaxes(draws, 0, 1)

    @jax.jit
    def sampler(key, x):
        return jax.lax.map(lambda row: posterior(*row), (jax.random.split(key, len(x)), x))

    return sampler


def _density(model, x, z):
    return log_joint(model, z, x)


def _nothing(*_):
    """What is kept of each warm-up step."""
    return


def _draws(key, move, state, num, *, num_chains=None):
    def one_move(state, key):
        keys = key if num_chains is None else jax.random.split(key, num_chains)
        state, _ = move(keys, state)
        return state, state.position

    return jax.lax.scan(one_move, state, jax.random.split(key, num))[1]
