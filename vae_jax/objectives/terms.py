"""An objective and its parts, and the densities they are made of."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jaxtyping import Array, Float, PRNGKeyArray, PyTree
from numpyro.distributions import Distribution
from numpyro.distributions.kl import kl_divergence

from bayes_jax.estimates import log_mean_exp
from bayes_jax.model import LatentModel


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


def log_likelihood(
    model: LatentModel, z: Float[Array, "sample latent"], x: PyTree
) -> Float[Array, " sample"]:
    """log p(x | z) of every draw."""
    if len(z) == 1:
        # Without an axis of one: products over two axes would copy what they contract.
        return model.likelihood(z[0]).log_prob(x)[None]
    return jax.vmap(lambda z: model.likelihood(z).log_prob(x))(z)


def draw(
    key: PRNGKeyArray, posterior: Distribution, num_samples: int
) -> tuple[Float[Array, "sample latent"], Float[Array, " sample"]]:
    """z ~ q and log q(z); a flow is not inverted, for its draws know where they came from."""
    z, path = posterior.sample_with_intermediates(key, (num_samples,))
    return z, posterior.log_prob(z, path) if path else posterior.log_prob(z)


def divergence(
    posterior: Distribution,
    prior: Distribution,
    z: Float[Array, "sample latent"],
    log_q: Float[Array, " sample"],
) -> Float[Array, ""]:
    """KL(posterior || prior): in closed form where one is known, else the mean over draws."""
    if isinstance(posterior, dist.MultivariateNormal) and _is_diagonal_normal(prior):
        return _divergence_from_diagonal(posterior, prior)
    try:
        return kl_divergence(posterior, prior)
    except NotImplementedError:  # no closed form is known for this pair
        return jnp.mean(log_q - prior.log_prob(z))


def _is_diagonal_normal(prior: Distribution) -> bool:
    base = prior.base_dist if isinstance(prior, dist.Independent) else prior
    if isinstance(base, dist.ExpandedDistribution):
        base = base.base_dist
    return prior.event_dim == 1 and isinstance(base, dist.Normal)


def _divergence_from_diagonal(
    posterior: dist.MultivariateNormal, prior: Distribution
) -> Float[Array, ""]:
    """Of a full-rank normal from a diagonal one, a pair that NumPyro lacks."""
    scale = jnp.sqrt(prior.variance)
    factor = posterior.scale_tril / scale[:, None]
    offset = (posterior.loc - prior.mean) / scale
    squares = jnp.sum(factor**2) + jnp.sum(offset**2) - len(offset)
    return 0.5 * squares - jnp.sum(jnp.log(jnp.diagonal(factor)))


def importance_terms(
    log_likelihood: Float[Array, " sample"], log_ratio: Float[Array, " sample"]
) -> Terms:
    """The importance-weighted bound of draws from q, with the parts of the ELBO that they give.

    Args:
        log_likelihood: log p(x | z_k).
        log_ratio: log q(z_k | x) - log p(z_k).
    """
    log_weights = log_likelihood - log_ratio
    return Terms(
        objective=log_mean_exp(log_weights),
        elbo=jnp.mean(log_weights),
        reconstruction=jnp.mean(log_likelihood),
        kl=jnp.mean(log_ratio),
    )
