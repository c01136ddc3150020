"""Imputation by an encoder of whole observations: z ~ q(z | x), x_missing ~ p(x | z), and again.

Were q the exact posterior, this would be Gibbs sampling of p(z, x_missing | x_observed). With an
encoder it draws from something else (Rezende, Mohamed, Wierstra 2014, arXiv 1401.4082, appendix F).
Metropolis-Hastings within Gibbs accepts the encoder's z only as often as makes it exact again
(Mattei, Frellsen 2018, arXiv 1802.04826).
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from bayes_jax.batching import check_batch, map_observations
from bayes_jax.errors import InputError
from bayes_jax.imputation.engines import Batch, Masks
from bayes_jax.imputation.results import Imputations, check_counts, from_latents
from bayes_jax.missing import check_missing, complete, observed_part
from bayes_jax.model import Guide, LatentModel, check_observations, compilable, log_joint


class GibbsState(NamedTuple):
    """What the next move of a chain needs.

    Attributes:
        z: `[latent]`.
        x: completed, `[dim]`.
    """

    z: Float[Array, " latent"]
    x: Float[Array, " dim"]


def impute_by_pseudo_gibbs(
    key: PRNGKeyArray,
    model: LatentModel,
    x: Batch,
    missing: Masks,
    *,
    guide: Guide,
    corrected: bool = False,
    num_imputations: int = 100,
    num_chains: int = 16,
    num_warmup: int = 100,
    num_samples: int = 250,
    batch_size: int | None = None,
) -> Imputations:
    """Alternate between the guide's z and the decoder's missing entries.

    Chains start at draws from p(x), completed by what was observed.

    Args:
        key: a PRNG key.
        model: p(z) p(x | z), as in `impute_by_mcmc`.
        x: `[batch, dim]`; what it holds where `missing` is not read.
        missing: `[batch, dim]`, True where x was not observed; each row its own.
        guide: ONE whole x -> q(z | x).
        corrected: accept z with probability min(1, p(x, z') q(z | x) / (p(x, z) q(z' | x))), which
            leaves p(z, x_missing | x_observed) as it is. The first half of the warm-up accepts all:
            far from typical x the ratio says nothing and a chain would stand still.
        num_imputations: completions of each x, at most num_chains times num_samples.
        num_chains: chains per x.
        num_warmup: moves before the kept ones.
        num_samples: kept moves per chain.
        batch_size: observations in memory at once; None takes all.

    Returns:
        Imputations.

    Raises:
        InputError: masks that do not fit, observed entries without density, counts below 1.
    """
    model, guide = compilable(model), compilable(guide)
    check_missing(x, missing, model)
    check_batch((x, missing), batch_size)
    check_counts(num_imputations, num_chains * num_samples)
    if num_warmup < 0:
        raise InputError(f"num_warmup is {num_warmup}: expected at least 0")
    x, missing = jnp.asarray(x, jnp.result_type(float)), jnp.asarray(missing)
    check_observations(observed_part(model), (x, missing))
    key_chains, key_complete = jax.random.split(key)
    counts = {"num_chains": num_chains, "num_warmup": num_warmup, "num_samples": num_samples}
    z = _run(
        key_chains, model, guide, x, missing, corrected=corrected, batch_size=batch_size, **counts
    )
    return from_latents(
        key_complete, model, z, x, missing, num_imputations=num_imputations, batch_size=batch_size
    )


@partial(
    jax.jit,
    static_argnames=("corrected", "num_chains", "num_warmup", "num_samples", "batch_size"),
)
def _run(
    key, model, guide, x, missing, *, corrected, num_chains, num_warmup, num_samples, batch_size
):
    num_moves = num_warmup + num_samples
    accept_all = jnp.arange(num_moves) < (num_warmup // 2 if corrected else num_moves)

    def chain(row, key):
        key_start, key_moves = jax.random.split(key)
        keys = jax.random.split(key_moves, num_moves)
        state = _start(key_start, model, *row)
        _, z = jax.lax.scan(partial(_move, model, guide, *row), state, (keys, accept_all))
        return z[num_warmup:]

    def one(key, row):
        return jax.vmap(partial(chain, row))(jax.random.split(key, num_chains))

    return map_observations(one, key, (x, missing), batch_size=batch_size)


def _start(key, model, x, missing) -> GibbsState:
    key_latent, key_missing = jax.random.split(key)
    z = model.prior.sample(key_latent)
    return GibbsState(z, complete(model.likelihood(z), x, missing).sample(key_missing))


def _move(model, guide, x, missing, state, step):
    """One z, accepted or not, and the missing entries that go with it."""
    key, accept_all = step
    key_propose, key_accept, key_missing = jax.random.split(key, 3)
    proposal = guide(state.x)
    z = proposal.sample(key_propose)

    def log_weight(z):
        return log_joint(model, z, state.x) - proposal.log_prob(z)

    log_ratio = log_weight(z) - log_weight(state.z)
    accepted = accept_all | (jnp.log(jax.random.uniform(key_accept)) < log_ratio)
    z = jnp.where(accepted, z, state.z)
    return GibbsState(z, complete(model.likelihood(z), x, missing).sample(key_missing)), z
