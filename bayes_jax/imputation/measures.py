"""How good imputations are, on entries that were hidden and are known."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Num

from bayes_jax.batching import map_rows
from bayes_jax.errors import InputError
from bayes_jax.estimates import EvidenceKind, log_mean_exp
from bayes_jax.imputation.engines import Batch, Masks
from bayes_jax.imputation.results import Imputations
from bayes_jax.missing import check_missing, complete
from bayes_jax.model import GenerativeModel, compilable


class Measures(NamedTuple):
    """Of every x, over its hidden entries.

    Attributes:
        squared_error: mean of (x - E[x | x_observed])^2, in the squared units of x, `[batch]`.
        log_prob: log p(x_missing | x_observed) of all hidden entries together, divided by their
            number: nats per entry, `[batch]`.
        coverage: share of the hidden entries inside their central interval, `[batch]`.
        kind: of `log_prob`: exact, or the estimate log mean_z p(x_missing | x_observed, z) over the
            draws of z, which is low where these are few.
    """

    squared_error: Float[Array, " batch"]
    log_prob: Float[Array, " batch"]
    coverage: Float[Array, " batch"]
    kind: EvidenceKind


def measure(
    generative: GenerativeModel,
    imputations: Imputations,
    x: Batch,
    missing: Masks,
    *,
    probability: float = 0.9,
    batch_size: int | None = None,
) -> Measures:
    """Hold imputations against the whole observations.

    Args:
        generative: the model they are from.
        imputations: of x under the masks.
        x: `[batch, dim]`, known everywhere.
        missing: `[batch, dim]`, something hidden in every row.
        probability: of the central intervals.
        batch_size: observations in memory at once; None takes all.

    Returns:
        Measures.

    Raises:
        InputError: a row in which nothing is hidden, or masks that do not fit.
    """
    check_missing(x, missing)
    x, missing = jnp.asarray(x, jnp.result_type(float)), jnp.asarray(missing)
    some = jnp.any(missing, axis=1)
    if not bool(jnp.all(some)):
        raise InputError(
            f"nothing is missing in x[{int(jnp.argmin(some))}]: expected something to measure in "
            "every row"
        )
    if imputations.z is None:
        law = compilable(generative.completion)
        log_prob = _exact_log_prob(law, x, missing, batch_size=batch_size)
        kind = EvidenceKind.EXACT
    else:
        model = compilable(generative.latent)
        log_prob = _estimated_log_prob(model, imputations.z, x, missing, batch_size=batch_size)
        kind = EvidenceKind.ESTIMATE
    inside = jax.vmap(partial(covered, probability=probability))(x, imputations.x)
    num = jnp.sum(missing, axis=1)
    return Measures(
        jnp.sum(jnp.where(missing, (x - imputations.mean) ** 2, 0), axis=1) / num,
        log_prob / num,
        jnp.sum(jnp.where(missing, inside, 0), axis=1) / num,
        kind,
    )


def covered(
    x: Num[Array, " dim"], draws: Num[Array, "draw dim"], *, probability: float = 0.9
) -> Float[Array, " dim"]:
    """Whether each entry lies in the central interval of its draws, ties shared out.

    The rank of x among its n draws stands for the interval (below, below + ties + 1) / (n + 1);
    what is returned is the share of it that lies inside the central `probability`. Where x is one
    more draw of the same law its expectation is `probability` for every n, for pixels of two values
    as for real ones: a non-randomised probability integral transform.

    Args:
        x: one observation.
        draws: of its entries.
        probability: of the interval.

    Returns:
        Shares in [0, 1].

    References:
        Czado, Gneiting, Held 2009, "Predictive model assessment for count data",
        https://doi.org/10.1111/j.1541-0420.2009.01191.x.
    """
    num, tail = len(draws), (1 - probability) / 2
    low = jnp.sum(draws < x, axis=0) / (num + 1)
    width = (jnp.sum(draws == x, axis=0) + 1) / (num + 1)
    overlap = jnp.minimum(low + width, 1 - tail) - jnp.maximum(low, tail)
    return jnp.maximum(overlap, 0) / width


@partial(jax.jit, static_argnames="batch_size")
def _exact_log_prob(completion, x, missing, *, batch_size):
    def one(row):
        return completion(*row).log_prob(row[0])

    return map_rows(one, (x, missing), batch_size=batch_size)


@partial(jax.jit, static_argnames="batch_size")
def _estimated_log_prob(model, z, x, missing, *, batch_size):
    def one(row):
        z, x, missing = row

        def log_prob(z):
            return complete(model.likelihood(z), x, missing).log_prob(x)

        return log_mean_exp(jax.vmap(log_prob)(z.reshape(-1, z.shape[-1])))

    return map_rows(one, (z, x, missing), batch_size=batch_size)
