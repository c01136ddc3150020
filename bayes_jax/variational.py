"""q* fitted to each observation by itself: the best of a family, without amortization.

`families` says what is fitted and `ascent` how, and when it stops.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from bayes_jax.ascent import ascend
from bayes_jax.batching import Index, check_batch, map_observations
from bayes_jax.errors import InputError
from bayes_jax.estimates import Evidence, lower_evidence, mean_stderr
from bayes_jax.families import Family, FamilyName, family_of, find_family
from bayes_jax.model import Guide, LatentModel, check_observations, compilable, log_joint
from bayes_jax.noise import independent_draws


class FittedPosterior(NamedTuple):
    """q* for a batch of observations.

    Attributes:
        params: fitted, for the family's `constrain`, leaves `[batch, ...]`.
        log_weight: log p(x, z) - log q*(z) at draws of q* the fit has not seen, in nats,
            `[batch, sample]`; their mean is the ELBO.
        loc: mean of q*, `[batch, latent]`. In closed form for "mean_field" and "full_rank"; of the
            draws behind `log_weight` for "flow" and every family that states no moments: a
            transformed distribution has none in closed form.
        covariance: of q*, likewise, `[batch, latent, latent]`.
        num_steps: taken by each fit, `[batch]`.
        num_evaluations: of log p(x, z) or its gradient for each x, checks and the draws behind
            `log_weight` included, `[batch]`.
    """

    params: PyTree
    log_weight: Float[Array, "batch sample"]
    loc: Float[Array, "batch latent"]
    covariance: Float[Array, "batch latent latent"]
    num_steps: Int[Array, " batch"]
    num_evaluations: Int[Array, " batch"]

    def elbo(self) -> Evidence:
        """The ELBO of q*, with the standard error of the mean."""
        return lower_evidence(jnp.mean(self.log_weight, axis=-1), mean_stderr(self.log_weight))


def fit_posterior(
    key: PRNGKeyArray,
    model: LatentModel,
    x: PyTree,
    *,
    guide: Guide | None = None,
    family: FamilyName | Family | None = None,
    num_steps: int | None = None,
    num_samples: int = 8,
    learning_rate: float = 0.05,
    least_rise: float | None = 1.0,
    num_elbo_samples: int = 1000,
    batch_size: int | None = None,
    index_offset: Index = 0,
) -> FittedPosterior:
    """Maximise the ELBO of each x over one family, by Adam, until it rises no more.

    Gradients are reparameterised without the score term, so that they vanish where q equals the
    posterior (Roeder, Wu, Duvenaud 2017, arXiv 1703.09194). When an x stops and how its step size
    falls is written in `bayes_jax.ascent`; x that are done wait, unchanged, for the others of
    their batch. With few steps and a guide this is semi-amortized inference (Kim et al. 2018,
    arXiv 1802.02550): up to 150 steps are taken in full, with no check.

    Args:
        key: a PRNG key.
        model: p(z) p(x | z).
        x: `[batch, ...]`.
        guide: where the fit starts; the prior, if None.
        family: that of the guide, if None (see `bayes_jax.families.family_of`; "mean_field" without
            a guide). Otherwise "mean_field" (diagonal Gaussian, starting at the mean and the scales
            that the guide states), "full_rank" (Gaussian) or "flow" (couplings on top of it, their
            weights refitted for each x), these two starting at mean and covariance of the guide's
            draws; or a `Family` of one's own.
        num_steps: of Adam, at most; 500 from a guide, 1000 from the prior, if None.
        num_samples: draws per step.
        learning_rate: step before it falls, in units of the start's scale.
        least_rise: what the ELBO must rise by to go on, in standard errors of the difference,
            within 100 steps (300 of a flow); None takes all `num_steps`.
        num_elbo_samples: fresh draws for the reported ELBO.
        batch_size: observations in memory at once; None takes all.
        index_offset: index of x[0] in the whole data set.

    Returns:
        FittedPosterior.

    Raises:
        InputError: on x the likelihood gives no density, an unknown family, a guide whose family is
            not known, or counts below 1.
    """
    model, guide = compilable(model), compilable(guide)
    if family is None:
        family = "mean_field" if guide is None else guides_family(guide, x)
    family = find_family(family)
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
        least_rise,
        family=family,
        num_steps=num_steps,
        num_samples=num_samples,
        num_elbo_samples=num_elbo_samples,
        batch_size=batch_size,
    )


def guides_family(guide: Guide, x: PyTree) -> Family:
    """The family of a guide's q(z | x), from its shapes alone.

    Args:
        guide: ONE x -> q(z | x).
        x: `[batch, ...]`, or the shapes of it.

    Raises:
        InputError: as `family_of`.
    """
    row = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), x)
    return family_of(jax.eval_shape(guide, row))


def sample_fitted(
    key: PRNGKeyArray,
    fitted: FittedPosterior,
    *,
    family: FamilyName | Family,
    num_samples: int,
) -> Float[Array, "batch sample latent"]:
    """Draws from each q*.

    Args:
        key: a PRNG key.
        fitted: of a batch.
        family: the family it was fitted in.
        num_samples: draws per observation.

    Returns:
        z `[batch, sample, latent]`.

    Raises:
        InputError: on an unknown family.
    """
    return _sample_fitted(key, fitted.params, family=find_family(family), num_samples=num_samples)


@partial(jax.jit, static_argnames=("family", "num_samples"))
def _sample_fitted(key, params, *, family, num_samples):
    def draw(key, params):
        return independent_draws(key, family.constrain(params), num_samples)

    return map_observations(draw, key, params)


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
    least_rise,
    *,
    family,
    num_steps,
    num_samples,
    num_elbo_samples,
    batch_size,
):
    def one(key, x):
        key_start, key_fit, key_elbo = jax.random.split(key, 3)
        start = model.prior if guide is None else guide(x)

        def log_weights(key, params, num):
            # Draws carry the gradient, the density that scores them does not: the path derivative.
            scorer = family.constrain(jax.lax.stop_gradient(params))
            return _draws_and_log_weights(key, model, x, family.constrain(params), scorer, num)[1]

        state = ascend(
            key_fit,
            log_weights,
            family.init(key_start, start),
            num_steps=num_steps,
            num_samples=num_samples,
            patience=family.patience,
            learning_rate=learning_rate,
            least_rise=least_rise,
        )
        q = family.constrain(state.params)
        z, log_weight = _draws_and_log_weights(key_elbo, model, x, q, q, num_elbo_samples)
        loc, covariance = (
            (jnp.mean(z, axis=0), jnp.atleast_2d(jnp.cov(z, rowvar=False)))
            if family.moments is None
            else family.moments(state.params)
        )
        return FittedPosterior(
            state.params,
            log_weight,
            loc,
            covariance,
            state.step,
            state.num_evaluations + num_elbo_samples,
        )

    return map_observations(one, key, x, batch_size=batch_size, index_offset=index_offset)


def _draws_and_log_weights(key, model, x, q, scorer, num_samples):
    z = independent_draws(key, q, num_samples)
    return z, jax.vmap(lambda z: log_joint(model, z, x) - scorer.log_prob(z))(z)
