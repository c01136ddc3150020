"""The importance-weighted bound under gradients of smaller variance; its value stays the same.

The gradient of log q(z | x) to the guide's parameters has two parts: one through z, and the score,
whose expectation under q is zero. Both estimators take the score away.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from bayes_jax.model import Guide, LatentModel
from vae_jax.objectives.terms import Terms, importance_terms, log_likelihood


def stl_terms(
    key: PRNGKeyArray, model: LatentModel, guide: Guide, x: PyTree, *, num_samples: int = 1
) -> Terms:
    """Sticking the landing: the score is dropped (Roeder, Wu, Duvenaud 2017, arXiv 1703.09194).

    Unbiased for num_samples = 1, the ELBO; where q is the exact posterior its variance is zero. For
    more samples the gradient to the guide is biased (Tucker et al. 2018, arXiv 1810.04152, section
    4), for there the score has an expectation; take `dreg_terms`.

    Args:
        key: a PRNG key.
        model: p(x, z).
        guide: x -> q(z | x), reparameterised.
        x: one observation.
        num_samples: K of the bound.

    Returns:
        The parts in nats, those of `iwae_terms`.
    """
    posterior = guide(x)
    z = posterior.sample(key, (num_samples,))
    log_ratio = _without_score(posterior).log_prob(z) - model.prior.log_prob(z)
    return importance_terms(log_likelihood(model, z, x), log_ratio)


def dreg_terms(
    key: PRNGKeyArray, model: LatentModel, guide: Guide, x: PyTree, *, num_samples: int
) -> Terms:
    """The doubly reparameterised gradient (Tucker et al. 2018, arXiv 1810.04152, equation 8).

    Unbiased for both sides: the guide gets sum_k w_k^2 (d log w_k / d z_k) (d z_k / d guide), the
    model that of the bound itself, with w the normalised weights.

    Args:
        key: a PRNG key.
        model: p(x, z).
        guide: x -> q(z | x), reparameterised.
        x: one observation.
        num_samples: K of the bound.

    Returns:
        The parts in nats, those of `iwae_terms`.
    """
    posterior = guide(x)
    z = posterior.sample(key, (num_samples,))

    def parts(z):
        log_ratio = _without_score(posterior).log_prob(z) - model.prior.log_prob(z)
        return log_likelihood(model, z, x), log_ratio

    # The same densities at the same z: they are computed once.
    likelihoods, log_ratios = parts(z)
    weights = jax.lax.stop_gradient(jax.nn.softmax(likelihoods - log_ratios))
    return importance_terms(*parts(_scale_gradient(z, weights[:, None])))


def _without_score(posterior):
    """The same distribution, which the guide's parameters reach through z alone."""
    return jax.tree.map(jax.lax.stop_gradient, posterior)


@jax.custom_vjp
def _scale_gradient(
    z: Float[Array, "sample latent"], factor: Float[Array, "sample 1"]
) -> Float[Array, "sample latent"]:
    """z; on the way back its gradient is multiplied by the factor."""
    del factor
    return z


_scale_gradient.defvjp(
    lambda z, factor: (z, factor),
    lambda factor, gradient: (factor * gradient, jnp.zeros_like(factor)),
)
