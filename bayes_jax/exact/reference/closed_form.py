"""References in closed form: a correlated Gaussian posterior, and a multimodal one."""

from functools import partial

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jax.tree_util import Partial
from jaxtyping import Array, Float

from bayes_jax.exact import linear_gaussian as gaussian
from bayes_jax.exact.linear_gaussian import LinearGaussian
from bayes_jax.exact.reference.base import Reference
from bayes_jax.model import LatentModel


def linear_gaussian(latent_dim: int = 2, dim: int = 5) -> Reference:
    """A linear decoder with Gaussian noise: the posterior is a correlated Gaussian.

    Args:
        latent_dim: number of latent dimensions.
        dim: number of observed dimensions.

    Returns:
        A reference in closed form.
    """
    params = LinearGaussian(
        loading=jax.random.normal(jax.random.key(1), (dim, latent_dim)),
        mean=jnp.linspace(-1.0, 1.0, dim),
        variance=jnp.linspace(0.3, 0.6, dim),
    )

    def moments(x):
        exact = gaussian.posterior(params, x)
        return exact.mean, exact.covariance_matrix

    return Reference(
        "linear_gaussian",
        gaussian.latent_model(params),
        Partial(gaussian.posterior, params),
        jax.jit(jax.vmap(partial(gaussian.log_evidence, params))),
        jax.jit(jax.vmap(moments)),
    )


def mixture_prior() -> Reference:
    """A mixture of three Gaussians as p(z), a linear decoder with Gaussian noise: multimodal.

    Given the component this is a linear-Gaussian model, so p(x) and p(z | x) are mixtures over the
    three. The decoder sees one direction of a two-dimensional z only.

    Returns:
        A reference in closed form.
    """
    weights = jnp.array([0.5, 0.3, 0.2])
    loc = jnp.array([[-2.0, 0.0], [2.0, 1.0], [0.0, -3.0]])
    scale = jnp.array([[0.5, 0.7], [0.4, 0.5], [0.6, 0.4]])
    decoder = LinearGaussian(jnp.array([[0.3, 1.0], [0.6, 2.0]]), jnp.zeros(2), jnp.full(2, 0.8))
    prior = dist.MixtureSameFamily(
        dist.Categorical(probs=weights), dist.Normal(loc, scale).to_event(1)
    )
    params = (jnp.log(weights), loc, scale, decoder)

    def log_evidence(x):
        return jax.scipy.special.logsumexp(_given_components(params, x)[0])

    def moments(x):
        exact = _mixture_posterior(params, x)
        spread = jax.vmap(jnp.outer)(*[exact.component_distribution.mean - exact.mean] * 2)
        covariances = exact.component_distribution.covariance_matrix + spread
        return exact.mean, jnp.einsum("k,kij->ij", exact.mixing_distribution.probs, covariances)

    return Reference(
        "mixture_prior",
        LatentModel(prior, Partial(gaussian.likelihood, decoder)),
        Partial(_mixture_posterior, params),
        jax.jit(jax.vmap(log_evidence)),
        jax.jit(jax.vmap(moments)),
    )


def _mixture_posterior(params, x) -> dist.MixtureSameFamily:
    log_joint, means, covariances = _given_components(params, x)
    return dist.MixtureSameFamily(
        dist.Categorical(probs=jax.nn.softmax(log_joint)),
        dist.MultivariateNormal(means, covariances),
    )


def _given_components(params, x) -> tuple[Float[Array, " k"], Float[Array, "k d"], Array]:
    """log p(x, k) of each component k, and the mean and covariance of p(z | x, k)."""
    log_weights, loc, scale, decoder = params

    def given_component(loc, scale):
        """Of z = loc + scale * standard normal."""
        component = decoder._replace(
            loading=decoder.loading * scale, mean=decoder.loading @ loc + decoder.mean
        )
        exact = gaussian.posterior(component, x)
        covariance = scale[:, None] * exact.covariance_matrix * scale
        return gaussian.log_evidence(component, x), loc + scale * exact.mean, covariance

    log_prob, means, covariances = jax.vmap(given_component)(loc, scale)
    return log_weights + log_prob, means, covariances
