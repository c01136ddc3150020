"""One score, one definition: all rise with the oddity of x, and each is in nats per observation.

The first five need p(z) p(x | z) and a guide, or nothing but p(z) p(x | z); `member_disagreement`
needs an ensemble, `negative_log_evidence` a model that knows its p(x), `typicality` a log p alone.
Options are those of the engines behind them: `num_samples`, `batch_size`, `index_offset` and more.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from bayes_jax.annealing import annealed_evidence
from bayes_jax.batching import Index, check_batch, map_observations
from bayes_jax.ensemble import disagreement
from bayes_jax.errors import InputError
from bayes_jax.estimates import EvidenceKind
from bayes_jax.importance import elbo, importance_bound
from bayes_jax.model import GenerativeModel, Guide, LatentModel, check_observations, compilable
from bayes_jax.noise import independent_draws
from bayes_jax.variational import fit_posterior

Scores = Float[Array, " batch"]


def negative_elbo(
    key: PRNGKeyArray, model: LatentModel, x: PyTree, *, guide: Guide, **options
) -> Scores:
    """-E_q[log p(x, z) - log q(z | x)] >= -log p(x): what a VAE is trained on.

    Args:
        key: a PRNG key.
        model: p(z) p(x | z).
        x: `[batch, ...]`.
        guide: ONE x -> q(z | x).
        **options: of `bayes_jax.elbo`.
    """
    return -elbo(key, model, x, guide=guide, **options).lower


def negative_importance_bound(
    key: PRNGKeyArray, model: LatentModel, x: PyTree, *, guide: Guide, **options
) -> Scores:
    """-log (1/K) sum_k p(x, z_k) / q(z_k | x), at most -ELBO in expectation.

    Args:
        key: a PRNG key.
        model: p(z) p(x | z).
        x: `[batch, ...]`.
        guide: ONE x -> q(z | x).
        **options: of `bayes_jax.importance_bound`; `num_samples` is K.
    """
    return -importance_bound(key, model, x, guide=guide, **options).lower


def negative_annealed_evidence(
    key: PRNGKeyArray, model: LatentModel, x: PyTree, *, guide: Guide | None = None, **options
) -> Scores:
    """-log p(x) by annealed importance sampling: of the model alone, however poor the guide.

    Args:
        key: a PRNG key.
        model: p(z) p(x | z).
        x: `[batch, ...]`.
        guide: where annealing starts; the prior if None.
        **options: of `bayes_jax.annealed_evidence`.
    """
    return -annealed_evidence(key, model, x, guide=guide, **options).lower


def reconstruction(
    key: PRNGKeyArray,
    model: LatentModel,
    x: PyTree,
    *,
    guide: Guide,
    num_samples: int = 100,
    batch_size: int | None = None,
    index_offset: Index = 0,
) -> Scores:
    """-E_q[log p(x | z)], over fresh draws of z: the -ELBO without its KL(q(z | x) || p(z)).

    Args:
        key: a PRNG key.
        model: p(z) p(x | z).
        x: `[batch, ...]`.
        guide: ONE x -> q(z | x).
        num_samples: draws of z per x.
        batch_size: observations in memory at once; None takes all.
        index_offset: index of x[0] in the whole data set.

    Raises:
        InputError: on x the likelihood gives no density, or counts below 1.

    References:
        An, Cho 2015, "Variational autoencoder based anomaly detection using reconstruction
        probability", SNU Data Mining Center, Special Lecture on IE 2(1), 1-18.
    """
    model, guide = compilable(model), compilable(guide)
    if num_samples < 1:
        raise InputError(f"num_samples is {num_samples}: expected at least 1")
    check_batch(x, batch_size)
    check_observations(model, x)
    return _reconstruction(
        key, model, guide, x, index_offset, num_samples=num_samples, batch_size=batch_size
    )


@partial(jax.jit, static_argnames=("num_samples", "batch_size"))
def _reconstruction(key, model, guide, x, index_offset, *, num_samples, batch_size):
    def one(key, x):
        z = independent_draws(key, guide(x), num_samples)
        return -jnp.mean(jax.vmap(lambda z: model.likelihood(z).log_prob(x))(z))

    return map_observations(one, key, x, batch_size=batch_size, index_offset=index_offset)


def likelihood_regret(
    key: PRNGKeyArray,
    model: LatentModel,
    x: PyTree,
    *,
    guide: Guide,
    num_samples: int = 1000,
    batch_size: int | None = None,
    index_offset: Index = 0,
    **options,
) -> Scores:
    """ELBO of the best q* of this x minus that of the guide: what amortization loses on x.

    It is 0 where the guide is the best of the family, and unlike -log p(x) it does not rise with
    how much there is to say of every x. Small ones may be negative by their Monte Carlo error.

    Args:
        key: a PRNG key.
        model: p(z) p(x | z).
        x: `[batch, ...]`.
        guide: ONE x -> q(z | x); fits of q* start here.
        num_samples: draws of z per x, fresh for each of the two ELBOs.
        batch_size: observations in memory at once; None takes all.
        index_offset: index of x[0] in the whole data set.
        **options: of `bayes_jax.fit_posterior`.

    References:
        Xiao, Yan, Amit 2020, "Likelihood regret: an out-of-distribution detection score for
        variational auto-encoder", arXiv 2003.02977.
    """
    key_fit, key_guide = jax.random.split(key)
    shared = {"guide": guide, "batch_size": batch_size, "index_offset": index_offset}
    best = fit_posterior(key_fit, model, x, num_elbo_samples=num_samples, **shared, **options)
    amortized = elbo(key_guide, model, x, num_samples=num_samples, **shared)
    return best.elbo().lower - amortized.lower


def member_disagreement(
    key: PRNGKeyArray, model: LatentModel, x: PyTree, *, guide: Guide, **options
) -> Scores:
    """log mean_s p(x | theta_s) - mean_s log p(x | theta_s): weights that agree have 0.

    Args:
        key: a PRNG key.
        model: of `bayes_jax.ensemble.averaged_model`.
        x: `[batch, ...]`.
        guide: ONE x -> q(z | x), shared by all members.
        **options: of `bayes_jax.ensemble.disagreement`, which has other measures too.
    """
    return disagreement(key, model, x, guide=guide, **options).information


def negative_log_evidence(key: PRNGKeyArray, model: GenerativeModel, x: PyTree) -> Scores:
    """-log p(x), exact.

    Args:
        key: a PRNG key.
        model: one that knows its p(x): PPCA, mixtures of any kind, a density.
        x: `[batch, ...]`.

    Raises:
        InputError: a model that only bounds or estimates it.
    """
    found = model.log_evidence(key, x)
    if found.kind is not EvidenceKind.EXACT:
        raise InputError(
            f"log p(x) is of kind {found.kind.name.lower()}: expected an exact one; take "
            "negative_annealed_evidence of the model's latent"
        )
    return -found.lower


def typicality(
    log_prob: Float[Array | np.ndarray, " batch"],
    normal: Float[Array | np.ndarray, " num"],
) -> Scores:
    """|log p(x) - mean log p of normal x|: too probable is odd, too.

    Args:
        log_prob: log p(x), or a bound of it.
        normal: the same of normal x that the model was not fitted on.

    References:
        Nalisnick, Matsukawa, Teh, Lakshminarayanan 2019, "Detecting out-of-distribution inputs to
        deep generative models using typicality", arXiv 1906.02994, batches of 1.
    """
    return jnp.abs(jnp.asarray(log_prob) - jnp.mean(jnp.asarray(normal)))
