"""What imputation returns, and how draws of z become it."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Num

from bayes_jax.batching import map_observations
from bayes_jax.errors import InputError
from bayes_jax.missing import Completion, complete, condition


class Imputations(NamedTuple):
    """Several completions of every x, draws from p(x | x_observed); what was observed is kept.

    Attributes:
        x: `[batch, imputation, dim]`.
        mean: E[x | x_observed], `[batch, dim]`: in closed form, or the mean of E[x | x_observed, z]
            over all draws of z.
        valid: False for an x whose density or completions met a number that is none, `[batch]`.
        z: draws from p(z | x_observed) `[batch, chain, draw, latent]`, not independent within a
            chain; None where the completions come from the closed form.
    """

    x: Num[Array, "batch imputation dim"]
    mean: Float[Array, "batch dim"]
    valid: Bool[Array, " batch"]
    z: Float[Array, "batch chain draw latent"] | None = None


def check_counts(num_imputations: int, num_draws: int) -> None:
    """Refuse more imputations than there are draws of z, and none.

    Raises:
        InputError: naming both.
    """
    if not 1 <= num_imputations <= num_draws:
        raise InputError(
            f"num_imputations is {num_imputations}: expected 1 to {num_draws}, num_chains times "
            "num_samples"
        )


@partial(jax.jit, static_argnames=("num_imputations", "batch_size"))
def from_latents(
    key, model, z, x, missing, *, num_imputations: int, batch_size: int | None = None
) -> Imputations:
    """Complete every x by p(x_missing | x_observed, z).

    An x is valid where its completions are finite and log p(x_observed | z) is below +inf at every
    draw of z.

    Args:
        key: a PRNG key.
        model: p(z) p(x | z), compilable.
        z: `[batch, chain, draw, latent]`.
        x: `[batch, dim]`.
        missing: masks `[batch, dim]`.
        num_imputations: made from so many draws of z, evenly spread over all chains.
        batch_size: observations in memory at once; None takes all.
    """

    def one(key, row):
        z, x, missing = row

        def sample(key, z):
            return complete(model.likelihood(z), x, missing).sample(key)

        def moments(z):
            found = condition(model.likelihood(z), x, missing)
            return Completion(found.law, x, missing).mean, found.log_prob

        z = z.reshape(-1, z.shape[-1])
        chosen = z[jnp.arange(num_imputations) * len(z) // num_imputations]
        keys = jax.random.split(key, num_imputations)
        completed = jax.vmap(sample)(keys, chosen)
        means, log_prob = jax.vmap(moments)(z)
        mean = jnp.where(missing, means.mean(axis=0), x)  # a mean of equal numbers may round
        finite = [jnp.all(jnp.isfinite(each)) for each in (z, completed, mean)]
        return completed, mean, jnp.all(log_prob < jnp.inf) & jnp.all(jnp.stack(finite))

    return Imputations(*map_observations(one, key, (z, x, missing), batch_size=batch_size), z)
