"""ELBOs whose KL is weighted or held: objectives of training, and no bounds of log p(x)."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Num, PRNGKeyArray, PyTree

from bayes_jax.model import Guide, LatentModel
from vae_jax.objectives.bounds import elbo_terms
from vae_jax.objectives.terms import Terms
from vae_jax.objectives.units import kl_per_unit


def beta_terms(
    key: PRNGKeyArray,
    model: LatentModel,
    guide: Guide,
    x: PyTree,
    *,
    beta: float | Float[Array, ""],
    num_samples: int = 1,
) -> Terms:
    """reconstruction - beta KL (Higgins et al. 2017); the ELBO for beta = 1, a bound for beta >= 1.

    Args:
        key: a PRNG key.
        model: p(x, z).
        guide: x -> q(z | x), reparameterised.
        x: one observation.
        beta: weight of the KL; may rise from 0 to 1 over training, see `warmed_up`.
        num_samples: draws of z.

    Returns:
        The parts in nats; `elbo` has the KL whole.
    """
    terms = elbo_terms(key, model, guide, x, num_samples=num_samples)
    return terms._replace(objective=terms.reconstruction - beta * terms.kl)


def free_bits_terms(
    key: PRNGKeyArray,
    model: LatentModel,
    guide: Guide,
    x: PyTree,
    *,
    free_nats: float,
    num_samples: int = 1,
) -> Terms:
    """reconstruction - sum_u max(KL_u, free_nats): units below the floor feel no pull to the prior.

    Kingma et al. 2016 (arXiv 1606.04934, appendix C.8) hold the mean KL over a minibatch to the
    floor; here it is that of each x, so that the objective stays one observation's.

    Args:
        key: a PRNG key.
        model: p(x, z).
        guide: x -> q(z | x), reparameterised.
        x: one observation.
        free_nats: the floor of each unit's KL.
        num_samples: draws of z.

    Returns:
        The parts in nats; `elbo` has the KL whole.

    Raises:
        InputError: guide or prior does not factorise over units.
    """
    terms = elbo_terms(key, model, guide, x, num_samples=num_samples)
    held = jnp.sum(jnp.maximum(kl_per_unit(guide(x), model.prior), free_nats))
    return terms._replace(objective=terms.reconstruction - held)


def capacity_terms(
    key: PRNGKeyArray,
    model: LatentModel,
    guide: Guide,
    x: PyTree,
    *,
    capacity: float | Float[Array, ""],
    weight: float,
    num_samples: int = 1,
) -> Terms:
    """reconstruction - weight |KL - capacity| (Burgess et al. 2018, arXiv 1804.03599, equation 8).

    For pairs of guide and prior whose KL has a closed form: the distance of a sampled KL to the
    capacity is more than that of the KL.

    Args:
        key: a PRNG key.
        model: p(x, z).
        guide: x -> q(z | x), reparameterised.
        x: one observation.
        capacity: nats that the KL shall have; may rise over training, see `warmed_up`.
        weight: of the distance to it.
        num_samples: draws of z.

    Returns:
        The parts in nats; `elbo` has the KL whole.
    """
    terms = elbo_terms(key, model, guide, x, num_samples=num_samples)
    return terms._replace(objective=terms.reconstruction - weight * jnp.abs(terms.kl - capacity))


def warmed_up(step: float | Num[Array, ""], num_steps: int) -> Float[Array, ""]:
    """A factor that rises linearly from 1 / num_steps at step 0 to 1, and stays there.

    Args:
        step: optimiser steps made so far.
        num_steps: of the rise; 0 makes it 1 at once (Sonderby et al. 2016, arXiv 1602.02282).
    """
    return jnp.minimum(1.0, (step + 1) / max(num_steps, 1))
