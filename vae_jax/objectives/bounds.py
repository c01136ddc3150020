"""Lower bounds of log p(x): the ELBO and the importance-weighted bound."""

import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from bayes_jax.model import Guide, LatentModel
from vae_jax.objectives.terms import Terms, divergence, draw, importance_terms, log_likelihood


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
    z, log_q = draw(key, posterior, num_samples)
    reconstruction = jnp.mean(log_likelihood(model, z, x))
    kl = divergence(posterior, model.prior, z, log_q)
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
    z, log_q = draw(key, guide(x), num_samples)
    return importance_terms(log_likelihood(model, z, x), log_q - model.prior.log_prob(z))
