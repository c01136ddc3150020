"""Training objectives of ONE observation: pure, in positive nats, larger is better.

All take `(key, model, guide, x)` and are averaged over a batch by the caller; only a loss negates.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jaxtyping import Array, Float, Int, Num, PRNGKeyArray, PyTree
from numpyro.distributions.kl import kl_divergence

from bayes_jax.estimates import log_mean_exp
from bayes_jax.model import Guide, LatentModel


class Terms(NamedTuple):
    """An objective and its parts, for one x, in nats.

    Attributes:
        objective: what training maximises.
        elbo: reconstruction - kl.
        reconstruction: E_q[log p(x | z)].
        kl: KL(q(z | x) || p(z)).
    """

    objective: Float[Array, ""]
    elbo: Float[Array, ""]
    reconstruction: Float[Array, ""]
    kl: Float[Array, ""]


def elbo(
    key: PRNGKeyArray, model: LatentModel, guide: Guide, x: PyTree, *, num_samples: int = 1
) -> Float[Array, ""]:
    """E_q[log p(x | z)] - KL(q(z | x) || p(z)), the evidence lower bound (arXiv 1312.6114).

    Args:
        key: a PRNG key.
        model: p(x, z).
        guide: x -> q(z | x), reparameterised.
        x: one observation.
        num_samples: draws of z in the first term.

    Returns:
        An unbiased estimate in nats; its expectation is at most log p(x).
    """
    return elbo_terms(key, model, guide, x, num_samples=num_samples).objective


def elbo_terms(
    key: PRNGKeyArray, model: LatentModel, guide: Guide, x: PyTree, *, num_samples: int = 1
) -> Terms:
    """`elbo` and its parts; the KL is in closed form where NumPyro knows it, else sampled.

    Args:
        key: a PRNG key.
        model: p(x, z).
        guide: x -> q(z | x), reparameterised.
        x: one observation.
        num_samples: draws of z.

    Returns:
        The parts in nats.
    """
    posterior = guide(x)
    z = posterior.sample(key, (num_samples,))
    reconstruction = jnp.mean(_log_likelihood(model, z, x))
    kl = _kl(posterior, model.prior, z)
    value = reconstruction - kl
    return Terms(value, value, reconstruction, kl)


def iwae(
    key: PRNGKeyArray, model: LatentModel, guide: Guide, x: PyTree, *, num_samples: int
) -> Float[Array, ""]:
    """log (1/K) sum_k p(x, z_k) / q(z_k | x) with z_k ~ q (arXiv 1509.00519).

    Args:
        key: a PRNG key.
        model: p(x, z).
        guide: x -> q(z | x), reparameterised.
        x: one observation.
        num_samples: K; the bound rises with it towards log p(x).

    Returns:
        A sample of the bound in nats.
    """
    return iwae_terms(key, model, guide, x, num_samples=num_samples).objective


def iwae_terms(
    key: PRNGKeyArray, model: LatentModel, guide: Guide, x: PyTree, *, num_samples: int
) -> Terms:
    """`iwae` and the parts of the ELBO that the same draws give (its KL is sampled).

    Args:
        key: a PRNG key.
        model: p(x, z).
        guide: x -> q(z | x), reparameterised.
        x: one observation.
        num_samples: K.

    Returns:
        The parts in nats.
    """
    posterior = guide(x)
    z = posterior.sample(key, (num_samples,))
    log_likelihood = _log_likelihood(model, z, x)
    log_ratio = posterior.log_prob(z) - model.prior.log_prob(z)
    log_weights = log_likelihood - log_ratio
    return Terms(
        objective=log_mean_exp(log_weights),
        elbo=jnp.mean(log_weights),
        reconstruction=jnp.mean(log_likelihood),
        kl=jnp.mean(log_ratio),
    )


def kl_per_unit(posterior: dist.Distribution, prior: dist.Distribution) -> Float[Array, " latent"]:
    """KL(q(z_u | x) || p(z_u)) of each latent unit, for factorised q and p; the sum is the KL.

    Args:
        posterior: q(z | x), independent over its one event axis.
        prior: p(z), likewise.

    Returns:
        `[latent]` in nats; a unit near zero carries nothing about x.
    """
    return kl_divergence(posterior.base_dist, prior.base_dist)


def active_units(
    guide: Guide, x: Num[Array | np.ndarray, "batch *event"], *, threshold: float = 1e-2
) -> Int[Array, ""]:
    """How many latent units the guide uses: those with Var_x(E_q[z_u | x]) > threshold.

    Args:
        guide: x -> q(z | x).
        x: a batch of observations.
        threshold: of the variance (Burda, Grosse, Salakhutdinov 2016, arXiv 1509.00519).

    Returns:
        A count between 0 and the latent dimension.
    """
    means = jax.vmap(lambda x: guide(x).mean)(x)
    return jnp.sum(jnp.var(means, axis=0) > threshold)


def _log_likelihood(model, z, x) -> Float[Array, " sample"]:
    return jax.vmap(lambda z: model.likelihood(z).log_prob(x))(z)


def _kl(posterior, prior, z) -> Float[Array, ""]:
    try:
        return kl_divergence(posterior, prior)
    except NotImplementedError:  # no closed form is known for this pair
        return jnp.mean(posterior.log_prob(z) - prior.log_prob(z))
