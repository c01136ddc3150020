"""Draws from the model's own p(x_missing | x_observed): in closed form, or by MCMC on z."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Num, PRNGKeyArray

from bayes_jax.batching import check_batch, map_observations
from bayes_jax.errors import InputError
from bayes_jax.imputation.results import Imputations, check_counts, from_latents
from bayes_jax.mcmc import sample_posterior
from bayes_jax.missing import check_missing, observed_part
from bayes_jax.model import GenerativeModel, LatentModel, compilable
from bayes_jax.noise import independent_draws

Batch = Num[Array | np.ndarray, "batch dim"]
Masks = Array | np.ndarray  # their shape and dtype are refused in one line, not by a traceback


def impute(
    key: PRNGKeyArray,
    generative: GenerativeModel,
    x: Batch,
    missing: Masks,
    *,
    num_imputations: int = 100,
    batch_size: int | None = None,
    **options,
) -> Imputations:
    """Draw from p(x_missing | x_observed), exactly where the model can, else by MCMC.

    Args:
        key: a PRNG key.
        generative: with a `completion` or a `latent`.
        x: `[batch, dim]`; what it holds where `missing` is not read.
        missing: `[batch, dim]`, True where x was not observed; each row its own. Where all of a row
            is missing its completions are draws from p(x).
        num_imputations: completions of each x.
        batch_size: observations in memory at once; None takes all.
        **options: of `sample_posterior`.

    Returns:
        Imputations.

    Raises:
        InputError: a model that can do neither, masks that do not fit, observed entries to which
            the model gives no density.
    """
    chosen = {"num_imputations": num_imputations, "batch_size": batch_size}
    if generative.completion is not None:
        return impute_exactly(key, generative, x, missing, **chosen)
    if generative.latent is not None:
        return impute_by_mcmc(key, generative.latent, x, missing, **chosen, **options)
    raise InputError(
        "the model has neither a completion in closed form nor a continuous latent: expected one "
        "of them to draw what is missing; a density alone cannot leave entries out"
    )


def impute_exactly(
    key: PRNGKeyArray,
    generative: GenerativeModel,
    x: Batch,
    missing: Masks,
    *,
    num_imputations: int = 100,
    batch_size: int | None = None,
) -> Imputations:
    """Independent draws from p(x_missing | x_observed) in closed form.

    Args:
        key: a PRNG key.
        generative: with a `completion`: linear-Gaussian models and mixtures have one.
        x: as in `impute`.
        missing: as in `impute`.
        num_imputations: completions of each x.
        batch_size: observations in memory at once; None takes all.

    Raises:
        InputError: a model without closed form, or as `impute`.
    """
    if generative.completion is None:
        raise InputError("the model has no completion in closed form: expected method mcmc")
    check_missing(x, missing)
    check_batch((x, missing), batch_size)
    if num_imputations < 1:
        raise InputError(f"num_imputations is {num_imputations}: expected at least 1")
    x = jnp.asarray(x, jnp.result_type(float))
    completed, mean, inside = _draw_exactly(
        key,
        compilable(generative.completion),
        x,
        missing,
        num_imputations=num_imputations,
        batch_size=batch_size,
    )
    if not bool(jnp.all(inside)):
        raise InputError(
            f"x[{int(jnp.argmin(inside))}] holds observed entries outside the support of the model"
        )
    return Imputations(completed, mean, jnp.ones(len(x), bool))


@partial(jax.jit, static_argnames=("num_imputations", "batch_size"))
def _draw_exactly(key, completion, x, missing, *, num_imputations, batch_size):
    def one(key, row):
        law = completion(*row)
        completed = independent_draws(key, law, num_imputations)
        return completed, law.mean, jnp.all(law.support(completed[0]))

    return map_observations(one, key, (x, missing), batch_size=batch_size)


def impute_by_mcmc(
    key: PRNGKeyArray,
    model: LatentModel,
    x: Batch,
    missing: Masks,
    *,
    num_imputations: int = 100,
    num_chains: int = 16,
    num_samples: int = 250,
    batch_size: int | None = None,
    **options,
) -> Imputations:
    """Draw z from p(z | x_observed) by `sample_posterior`, and what is missing given z.

    No guide takes part: one that was trained on whole observations does not know p(z | x_observed),
    which is wider and may have more modes. One compile serves all masks.

    Args:
        key: a PRNG key.
        model: p(z) p(x | z), the entries of x independent given z, or jointly normal.
        x: as in `impute`.
        missing: as in `impute`.
        num_imputations: completions of each x, at most num_chains times num_samples.
        num_chains: chains per x.
        num_samples: kept draws per chain.
        batch_size: observations in memory at once; None takes all.
        **options: of `sample_posterior`.

    Raises:
        InputError: as `impute`, or a likelihood whose entries cannot be left out.
    """
    model = compilable(model)
    check_missing(x, missing, model)
    check_counts(num_imputations, num_chains * num_samples)
    x, missing = jnp.asarray(x, jnp.result_type(float)), jnp.asarray(missing)
    key_chains, key_complete = jax.random.split(key)
    draws = sample_posterior(
        key_chains,
        observed_part(model),
        (x, missing),
        num_chains=num_chains,
        num_samples=num_samples,
        batch_size=batch_size,
        **options,
    )
    found = from_latents(
        key_complete,
        model,
        draws.z,
        x,
        missing,
        num_imputations=num_imputations,
        batch_size=batch_size,
    )
    return found._replace(valid=found.valid & draws.valid)
