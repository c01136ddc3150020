"""What amortized inference costs, image by image: evidence, ELBO and the two gaps between them.

    log p(x) - ELBO(q) = [log p(x) - ELBO(q*)] + [ELBO(q*) - ELBO(q)]
                           approximation gap       amortization gap

q is the guide, q* the best member of its family for this x (Cremer et al. 2018, arXiv 1801.03558).
"""

import jax
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray, PyTree

from bayes_jax.annealing import annealed_evidence
from bayes_jax.estimates import Evidence, Gaps
from bayes_jax.importance import elbo
from bayes_jax.model import Guide, LatentModel
from bayes_jax.variational import FamilyName, FittedPosterior, fit_posterior


def inference_gaps(
    key: PRNGKeyArray,
    model: LatentModel,
    x: PyTree,
    *,
    guide: Guide,
    evidence: Evidence | None = None,
    family: FamilyName = "mean_field",
    num_samples: int = 1000,
    num_steps: int | None = None,
    num_chains: int = 16,
    num_temperatures: int | None = None,
    batch_size: int | None = None,
    index_offset: int = 0,
) -> Gaps:
    """Approximation and amortization gap of a guide, per observation, in nats.

    Args:
        key: a PRNG key.
        model: p(z) p(x | z).
        x: `[batch, ...]`.
        guide: the amortized posterior, ONE x -> q(z | x).
        evidence: log p(x) where it is known or already bounded; guide-started AIS, if None. The
            lower side is used: with a lower bound the approximation gap is a lower bound too.
        family: the guide's family, in which q* is sought.
        num_samples: draws behind each ELBO.
        num_steps: of the fit of q*.
        num_chains: of AIS.
        num_temperatures: of AIS.
        batch_size: observations in memory at once; None takes all.
        index_offset: index of x[0] in the whole data set.

    Returns:
        Gaps. A gap may come out below zero by its standard error.

    Raises:
        InputError: on x the likelihood gives no density, or counts that make no sense.
    """
    key_evidence, key_elbo, key_fit = jax.random.split(key, 3)
    rows = {"guide": guide, "batch_size": batch_size, "index_offset": index_offset}
    if evidence is None:
        evidence = annealed_evidence(
            key_evidence,
            model,
            x,
            num_chains=num_chains,
            num_temperatures=num_temperatures,
            **rows,
        )
    amortized = elbo(key_elbo, model, x, num_samples=num_samples, **rows)
    fitted = fit_posterior(
        key_fit,
        model,
        x,
        family=family,
        num_steps=num_steps,
        num_elbo_samples=num_samples,
        **rows,
    )
    return decompose(evidence, amortized, fitted)


def decompose(evidence: Evidence, amortized: Evidence, fitted: FittedPosterior) -> Gaps:
    """The gaps from their three parts: evidence, ELBO of the guide, fit of q*, for the same x.

    Args:
        evidence: of which the lower side is used.
        amortized: the guide's ELBO.
        fitted: q* of the guide's family.

    Returns:
        Gaps; the standard errors take the three parts as independent.
    """
    optimal = fitted.elbo()
    return Gaps(
        log_evidence=evidence.lower,
        elbo=amortized.lower,
        elbo_optimal=optimal.lower,
        approximation=evidence.lower - optimal.lower,
        amortization=optimal.lower - amortized.lower,
        stderr_approximation=jnp.hypot(evidence.stderr_lower, optimal.stderr_lower),
        stderr_amortization=jnp.hypot(optimal.stderr_lower, amortized.stderr_lower),
        stderr_total=jnp.hypot(evidence.stderr_lower, amortized.stderr_lower),
    )
