"""Is the encoder calibrated, and is MCMC? Images simulated from a run's own decoder tell."""

from collections.abc import Callable
from functools import partial

import jax
from jaxtyping import PRNGKeyArray

from bayes_jax import GenerativeModel
from bayes_jax.calibration import Calibration, check_valid, simulation_based_calibration
from bayes_jax.noise import independent_draws
from vae_jax.comparison import methods
from vae_jax.comparison.methods import Engines
from vae_jax.configs import InferenceBudget
from vae_jax.resumption import Store, engines_in

NUM_GUIDE_DRAWS = 320
# Apart from the keys that the inferences of a run take from the same parent.
CALIBRATION_STREAM = 1_000_003
# 16 chains of 80 draws, every fourth: nearly independent.
MCMC = {"num_chains": 16, "num_samples": 80}
EVERY = 4


def calibrate(
    key: PRNGKeyArray,
    generative: GenerativeModel,
    budget: InferenceBudget,
    *,
    num_simulations: int,
    store: Store | None = None,
) -> dict[str, Calibration]:
    """Simulation-based calibration of the encoder and of HMC.

    Args:
        key: a PRNG key.
        generative: with a continuous latent.
        budget: whose batch size bounds memory.
        num_simulations: images simulated.
        store: where results and half of the draws of HMC are kept; nothing is, if None.

    Returns:
        Name of each inference -> its ranks and p values; without an encoder, HMC alone.

    Raises:
        InputError: draws that are not finite, or chains that went wrong: neither has ranks.
    """
    key = jax.random.fold_in(key, CALIBRATION_STREAM)
    model, guide = generative.latent, generative.guide

    def case(sampler: Callable, store: Store | None = None) -> Calibration:
        engines = Engines() if store is None else engines_in(store)
        draw = partial(sampler, engines, model, guide, budget.batch_size)
        return simulation_based_calibration(key, model, draw, num_simulations=num_simulations)

    samplers = {} if guide is None else {methods.AMORTIZED: _from_guide}
    samplers[methods.HMC] = _from_chains
    return {
        name: store.once(name, partial(case, sampler)) if store else case(sampler)
        for name, sampler in samplers.items()
    }


def rows(model_name: str, cases: dict[str, Calibration]) -> list[dict]:
    """One row an inference: the p value, and which quantity departs the most.

    Args:
        model_name: of the model.
        cases: from `calibrate`.
    """
    return [
        {
            "table": "calibration",
            "model": model_name,
            "method": method,
            "log_prob": None,
            "stderr": None,
            "kind": None,
            "p_value": found.p_value,
            "worst": found.names[int(found.chi_square.argmin())],
            "p_value_likelihood": float(min(found.chi_square[-1], found.ecdf[-1])),
            "num_images": len(found.ranks),
            "seconds": None,
        }
        for method, found in cases.items()
    ]


@jax.jit
def _draws_from(guide, keys, x):
    return jax.vmap(lambda key, x: independent_draws(key, guide(x), NUM_GUIDE_DRAWS))(keys, x)


def _from_guide(engines, model, guide, batch_size, key, x):
    del engines, model, batch_size
    return _draws_from(guide, jax.random.split(key, len(x)), x)


def _from_chains(engines, model, guide, batch_size, key, x):
    draws = engines.sample_posterior(key, model, x, guide=guide, batch_size=batch_size, **MCMC)
    check_valid(draws)
    return draws.pooled(every=EVERY)
