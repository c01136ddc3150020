"""q* fitted to each observation by itself: the best of a family, without amortization.

A family says how flat parameters make a distribution: `init` from a location and a covariance
factor, `constrain` to a NumPyro distribution. Parameters are standardised by where they start, so
that one learning rate serves every x and every latent.
"""

from collections.abc import Callable
from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PRNGKeyArray, PyTree
from numpyro.distributions import Distribution, MultivariateNormal, Normal

from bayes_jax.batching import check_batch, map_observations
from bayes_jax.errors import InputError
from bayes_jax.estimates import Evidence, lower_evidence, mean_stderr
from bayes_jax.model import Guide, LatentModel, check_observations, compilable, log_joint
from bayes_jax.noise import independent_draws
from bayes_jax.transports import affine_from_draws

FamilyName = Literal["mean_field", "full_rank"]
NUM_START_DRAWS = 1000


class Anchor(NamedTuple):
    """Where a fit starts; its parameters are relative to it and it is not itself fitted."""

    loc: Float[Array, " latent"]
    scale_tril: Float[Array, "latent latent"]


class Family(NamedTuple):
    """A family of distributions over z.

    Attributes:
        init: `anchor -> params`.
        constrain: `(params, anchor) -> Distribution`; what it spans is the family.
    """

    init: Callable
    constrain: Callable


class FittedPosterior(NamedTuple):
    """q* for a batch of observations.

    Attributes:
        params: fitted, leaves `[batch, ...]`.
        anchor: where the fits started, leaves `[batch, ...]`.
        log_weight: log p(x, z) - log q*(z) at draws of q* the fit has not seen, in nats,
            `[batch, sample]`; their mean is the ELBO.
        loc: mean of q*, `[batch, latent]`.
        covariance: of q*, `[batch, latent, latent]`.
    """

    params: PyTree
    anchor: Anchor
    log_weight: Float[Array, "batch sample"]
    loc: Float[Array, "batch latent"]
    covariance: Float[Array, "batch latent latent"]

    def elbo(self) -> Evidence:
        """The ELBO of q*, with the standard error of the mean."""
        return lower_evidence(jnp.mean(self.log_weight, axis=-1), mean_stderr(self.log_weight))


def _mean_field_init(anchor: Anchor) -> PyTree:
    return {"shift": jnp.zeros_like(anchor.loc), "log_stretch": jnp.zeros_like(anchor.loc)}


def _mean_field_constrain(params: PyTree, anchor: Anchor) -> Distribution:
    scale = jnp.linalg.norm(anchor.scale_tril, axis=-1)
    loc = anchor.loc + scale * params["shift"]
    return Normal(loc, scale * jnp.exp(params["log_stretch"])).to_event(1)


def _full_rank_init(anchor: Anchor) -> PyTree:
    return {**_mean_field_init(anchor), "lower": jnp.zeros_like(anchor.scale_tril)}


def _full_rank_constrain(params: PyTree, anchor: Anchor) -> Distribution:
    stretch = jnp.diag(jnp.exp(params["log_stretch"])) + jnp.tril(params["lower"], -1)
    return MultivariateNormal(
        anchor.loc + anchor.scale_tril @ params["shift"], scale_tril=anchor.scale_tril @ stretch
    )


FAMILIES: dict[FamilyName, Family] = {
    "mean_field": Family(_mean_field_init, _mean_field_constrain),
    "full_rank": Family(_full_rank_init, _full_rank_constrain),
}


def fit_posterior(
    key: PRNGKeyArray,
    model: LatentModel,
    x: PyTree,
    *,
    guide: Guide | None = None,
    family: FamilyName = "mean_field",
    num_steps: int | None = None,
    num_samples: int = 8,
    learning_rate: float = 0.05,
    num_elbo_samples: int = 1000,
    batch_size: int | None = None,
    index_offset: int = 0,
) -> FittedPosterior:
    """Maximise the ELBO of each x over one family, by Adam with a cosine-decaying step.

    Gradients are reparameterised without the score term, so that they vanish where q equals the
    posterior (Roeder, Wu, Duvenaud 2017, arXiv 1703.09194). With few steps and a guide this is
    semi-amortized inference (Kim et al. 2018, arXiv 1802.02550).

    Args:
        key: a PRNG key.
        model: p(z) p(x | z).
        x: `[batch, ...]`.
        guide: where the fit starts (mean and covariance of its draws); the prior's, if None.
        family: "mean_field" (diagonal Gaussian) or "full_rank" (Gaussian).
        num_steps: of Adam; 500 from a guide, 1000 from the prior, if None.
        num_samples: draws per step.
        learning_rate: first step, in units of the start's scale.
        num_elbo_samples: fresh draws for the reported ELBO.
        batch_size: observations in memory at once; None takes all.
        index_offset: index of x[0] in the whole data set.

    Returns:
        FittedPosterior.

    Raises:
        InputError: on x the likelihood gives no density, an unknown family or counts below 1.
    """
    model, guide = compilable(model), compilable(guide)
    if family not in FAMILIES:
        raise InputError(f"family is {family!r}: expected one of {', '.join(FAMILIES)}")
    if num_steps is None:
        num_steps = 1000 if guide is None else 500
    for name, value in (("num_steps", num_steps), ("num_samples", num_samples)):
        if value < 1:
            raise InputError(f"{name} is {value}: expected at least 1")
    if num_elbo_samples < 2:
        raise InputError(f"num_elbo_samples is {num_elbo_samples}: expected at least 2")
    check_batch(x, batch_size)
    check_observations(model, x)
    return _fit_posterior(
        key,
        model,
        guide,
        x,
        index_offset,
        learning_rate,
        family=family,
        num_steps=num_steps,
        num_samples=num_samples,
        num_elbo_samples=num_elbo_samples,
        batch_size=batch_size,
    )


@partial(jax.jit, static_argnames=("family", "num_samples"))
def sample_fitted(
    key: PRNGKeyArray, fitted: FittedPosterior, *, family: FamilyName, num_samples: int
) -> Float[Array, "batch sample latent"]:
    """Draws from each q*.

    Args:
        key: a PRNG key.
        fitted: of a batch.
        family: the family it was fitted in.
        num_samples: draws per observation.

    Returns:
        z `[batch, sample, latent]`.
    """

    def draw(key, row):
        q = FAMILIES[family].constrain(*row)
        return independent_draws(key, q, num_samples)

    return map_observations(draw, key, (fitted.params, fitted.anchor))


@partial(
    jax.jit,
    static_argnames=("family", "num_steps", "num_samples", "num_elbo_samples", "batch_size"),
)
def _fit_posterior(
    key,
    model,
    guide,
    x,
    index_offset,
    learning_rate,
    *,
    family,
    num_steps,
    num_samples,
    num_elbo_samples,
    batch_size,
):
    optimizer = optax.adam(optax.cosine_decay_schedule(learning_rate, num_steps))

    def one(key, x):
        key_start, key_fit, key_elbo = jax.random.split(key, 3)
        source = model.prior if guide is None else guide(x)
        whitening = affine_from_draws(independent_draws(key_start, source, NUM_START_DRAWS))
        anchor = Anchor(whitening.loc, whitening.scale_tril)
        params = FAMILIES[family].init(anchor)
        params = _ascend(
            key_fit, model, x, params, anchor, FAMILIES[family], optimizer, num_steps, num_samples
        )
        q = FAMILIES[family].constrain(params, anchor)
        log_weight = _log_weights(key_elbo, model, x, q, q, num_elbo_samples)
        covariance = getattr(q, "covariance_matrix", None)
        if covariance is None:
            covariance = jnp.diag(q.variance)
        return FittedPosterior(params, anchor, log_weight, q.mean, covariance)

    return map_observations(one, key, x, batch_size=batch_size, index_offset=index_offset)


def _ascend(key, model, x, params, anchor, family, optimizer, num_steps, num_samples):
    def loss(params, key):
        q = family.constrain(params, anchor)
        # Draws carry the gradient, the density that scores them does not: the path derivative.
        scorer = family.constrain(jax.lax.stop_gradient(params), anchor)
        return -jnp.mean(_log_weights(key, model, x, q, scorer, num_samples))

    def one_step(carry, key):
        params, opt_state = carry
        updates, opt_state = optimizer.update(jax.grad(loss)(params, key), opt_state)
        return (optax.apply_updates(params, updates), opt_state), None

    carry = (params, optimizer.init(params))
    (params, _), _ = jax.lax.scan(one_step, carry, jax.random.split(key, num_steps))
    return params


def _log_weights(key, model, x, q, scorer, num_samples):
    z = independent_draws(key, q, num_samples)
    return jax.vmap(lambda z: log_joint(model, z, x) - scorer.log_prob(z))(z)
