"""What each latent unit carries."""

import contextlib

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Num, PRNGKeyArray
from numpyro.distributions import Distribution
from numpyro.distributions.kl import kl_divergence

from bayes_jax.errors import InputError
from bayes_jax.model import Guide
from bayes_jax.noise import independent_draws, mean_of


def kl_per_unit(posterior: Distribution, prior: Distribution) -> Float[Array, " latent"]:
    """KL(q(z_u | x) || p(z_u)) of each latent unit, for factorised q and p; the sum is the KL.

    Args:
        posterior: q(z | x), independent over its one event axis.
        prior: p(z), likewise.

    Returns:
        `[latent]` in nats; a unit near zero carries nothing about x.

    Raises:
        InputError: q or p does not factorise into units of known divergence.
    """
    parts = [getattr(side, "base_dist", None) for side in (posterior, prior)]
    if all(part is not None and part.event_shape == () for part in parts):
        try:
            return kl_divergence(*parts)
        except NotImplementedError:  # no closed form is known for this pair
            pass
    raise InputError(
        f"posterior {type(posterior).__name__} and prior {type(prior).__name__} have no divergence "
        "of each unit: expected both independent over units, such as diagonal normals"
    )


ACTIVE_VARIANCE = 1e-2
"""A unit is active where Var_x(E_q[z_u | x]) is larger (Burda et al. 2016, arXiv 1509.00519)."""


_NUM_DRAWS = 16  # of each x, in the epochs of a flow; what they add to a variance is taken off

COLLAPSED_SHARE = 0.5
"""Of its units, below which a posterior is said to have collapsed."""


def is_collapsed(num_active: int, num_units: int) -> bool:
    """Whether so few units are active that a person is warned."""
    return num_active < COLLAPSED_SHARE * num_units


def active_units(
    guide: Guide, x: Num[Array | np.ndarray, "batch *event"], *, threshold: float = ACTIVE_VARIANCE
) -> Int[Array, ""]:
    """How many latent units the guide uses: those with Var_x(E_q[z_u | x]) > threshold.

    Args:
        guide: x -> q(z | x).
        x: a batch of observations.
        threshold: of the variance.

    Returns:
        A count between 0 and the latent dimension.
    """
    means = jax.vmap(lambda x: mean_of(guide(x)))(x)
    return jnp.sum(jnp.var(means, axis=0) > threshold)


def unit_terms(
    key: PRNGKeyArray, posterior: Distribution, prior: Distribution
) -> dict[str, Float[Array, " latent"]]:
    """What `summarise` asks of ONE x.

    Args:
        key: of the draws of a flow, which states no mean; one for each x.
        posterior: q(z | x).
        prior: p(z).

    Returns:
        "unit_mean", with "unit_noise", the variance that draws give it; "unit_kl" in nats where
        both factorise over units.
    """
    mean, noise = _mean_and_noise(key, posterior)
    terms = {"unit_mean": mean, "unit_noise": noise}
    with contextlib.suppress(InputError):
        terms["unit_kl"] = kl_per_unit(posterior, prior)
    return terms


def _mean_and_noise(key, posterior):
    try:
        return posterior.mean, jnp.zeros(posterior.event_shape)
    except NotImplementedError:
        draws = independent_draws(key, posterior, _NUM_DRAWS)
        return jnp.mean(draws, axis=0), jnp.var(draws, axis=0, ddof=1) / _NUM_DRAWS


def summarise(metrics: dict[str, np.ndarray]) -> dict[str, float | int | list[float]]:
    """The metrics of a split as an epoch reports them: means, and how many units are active.

    Args:
        metrics: name -> `[num]`, and those of `unit_terms`, `[num, latent]`.

    Returns:
        Name -> mean over examples (of "unit_kl" that of each unit); "active_units", as
        `active_units` counts them; and whether that is "collapsed".
    """
    metrics = dict(metrics)
    spread = np.var(metrics.pop("unit_mean"), axis=0, dtype=np.float64)
    spread -= np.mean(metrics.pop("unit_noise"), axis=0, dtype=np.float64)
    means = {name: np.mean(value, axis=0, dtype=np.float64) for name, value in metrics.items()}
    num_active = int(np.sum(spread > ACTIVE_VARIANCE))
    return {
        **{name: mean.tolist() for name, mean in means.items()},
        "active_units": num_active,
        "collapsed": is_collapsed(num_active, len(spread)),
    }
