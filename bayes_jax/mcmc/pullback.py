"""Sampling where a flow's base is the target's coordinate: its exact map whitens.

With z = T(e), chains move in e under log p(x, T(e)) + log |det dT / de|, which is the base of the
flow where the flow is the posterior (Hoffman et al. 2019, arXiv 1903.03704, "NeuTra").
"""

from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree
from numpyro.distributions import Distribution, TransformedDistribution
from numpyro.distributions.transforms import ComposeTransform, Transform

from bayes_jax.errors import InputError
from bayes_jax.estimates import Draws
from bayes_jax.mcmc.chains import Starts
from bayes_jax.model import Guide

Whitening = Literal["moments", "map"]


def flow_of(guide: Guide | None, x: PyTree) -> tuple[Distribution, Transform]:
    """Base and map of the guide's q(z | x), for ONE x.

    Raises:
        InputError: no guide, or one that is no flow.
    """
    q = None if guide is None else guide(x)
    if not isinstance(q, TransformedDistribution):
        found = "no guide" if q is None else f"a guide that gives a {type(q).__name__}"
        raise InputError(
            f"whiten is 'map' and there is {found}: expected one that gives a flow, a "
            "TransformedDistribution; or whiten='moments'"
        )
    return q.base_dist, ComposeTransform(list(q.transforms))


def noise_of_prior_chains(flow: Transform, starts: Starts) -> Float[Array, "chain latent"]:
    """Starts in e: those of the guide are there already, those of the prior are draws of z.

    Raises:
        InputError: a map without an inverse.
    """
    try:
        noise = jax.vmap(flow.inv)(starts.positions)
    except NotImplementedError:
        raise InputError(
            "whiten is 'map' and the guide's flow has no inverse in closed form: expected coupling "
            "or autoregressive maps; or whiten='moments'"
        ) from None
    return jnp.where(starts.from_prior[:, None], noise, starts.positions)


def pulled_back(flow: Transform, density: Callable, e: Float[Array, " latent"]):
    """log density of e, in nats."""
    z = flow(e)
    return density(z) + flow.log_abs_det_jacobian(e, z)


def pushed_forward(flow: Transform, draws: Draws) -> Draws:
    """Draws of e as draws of z, their log p(x, z) without the map's."""

    def one(e):
        z = flow(e)
        return z, flow.log_abs_det_jacobian(e, z)

    z, log_determinant = jax.vmap(jax.vmap(one))(draws.z)
    return draws._replace(z=z, log_joint=draws.log_joint - log_determinant)
