"""Many likelihoods of one latent: the average over a posterior of weights, as one model.

With members theta_1 ... theta_S that stand for a posterior over weights, and a prior of z that they
share, the predictive density of a new x is

    p(x | data) = (1/S) sum_s int p(z) p(x | z, theta_s) dz
                = int p(z) (1/S) sum_s p(x | z, theta_s) dz

so the ensemble is a `LatentModel` whose likelihood averages its members - in probability, never in
nats - and every engine runs on it: a stochastic lower bound of its evidence is one of
log p(x | data), as far as the members stand for the posterior.
"""

from functools import partial
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jax.tree_util import Partial
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from bayes_jax.batching import Index, check_batch, map_observations
from bayes_jax.errors import InputError
from bayes_jax.estimates import log_mean_exp
from bayes_jax.model import Guide, LatentModel, check_observations, compilable


class Averaged(dist.Distribution):
    """(1/S) sum_s p_s(x), of members of any one family.

    Attributes:
        members: one distribution, every leaf with a leading member axis, as `jax.vmap` gives it.
    """

    arg_constraints: ClassVar = {}
    pytree_data_fields = ("members",)

    def __init__(self, members: dist.Distribution, *, validate_args: bool | None = None):
        """From what a `vmap` over members gives."""
        self.members = members
        super().__init__(event_shape=members.event_shape, validate_args=validate_args)

    @property
    def support(self):
        """That of every member."""
        return self.members.support

    def member_log_prob(self, value: PyTree) -> Float[Array, "*sample member"]:
        """log p_s(x) of every member, in nats."""
        return jax.vmap(lambda member: member.log_prob(value), out_axes=-1)(self.members)

    def log_prob(self, value: PyTree) -> Float[Array, "*sample"]:
        """The log of the average, in nats."""
        return log_mean_exp(self.member_log_prob(value))

    def sample(self, key: PRNGKeyArray, sample_shape: tuple[int, ...] = ()) -> PyTree:
        """Draws, each from a member of its own."""
        key_member, key_draw = jax.random.split(key)
        num_members = len(jax.tree.leaves(self.members)[0])
        index = jax.random.randint(key_member, sample_shape, 0, num_members)

        def draw(key, index):
            return jax.tree.map(lambda leaf: leaf[index], self.members).sample(key)

        keys = jax.random.split(key_draw, index.size)
        drawn = jax.vmap(draw)(keys, index.ravel())
        return jax.tree.map(lambda leaf: leaf.reshape(*sample_shape, *leaf.shape[1:]), drawn)

    @property
    def mean(self) -> Float[Array, "..."]:
        """The average of the members' means."""
        return jnp.mean(jax.vmap(lambda member: member.mean)(self.members), axis=0)

    @property
    def variance(self) -> Float[Array, "..."]:
        """Within members and between them."""
        within = jax.vmap(lambda member: member.variance)(self.members)
        between = jnp.var(jax.vmap(lambda member: member.mean)(self.members), axis=0)
        return jnp.mean(within, axis=0) + between


def averaged_model(prior: dist.Distribution, members: Partial) -> LatentModel:
    """p(z) (1/S) sum_s p(x | z, theta_s).

    Args:
        prior: p(z), shared.
        members: ONE z -> p(x | z, theta), over params with a leading member axis.

    Returns:
        The model; all ensembles of one likelihood run through the same compiled engines.
    """
    return LatentModel(prior, Partial(_averaged, members))


def _averaged(members, z) -> Averaged:
    return Averaged(jax.vmap(lambda likelihood: likelihood(z))(members))


class Disagreement(NamedTuple):
    """What the members say of each x, and how far they are apart.

    Attributes:
        log_evidence: log p(x | theta_s), bounded from below in expectation, `[batch, member]`.
        predictive: log (1/S) sum_s p(x | theta_s), likewise, `[batch]`.
        information: predictive - mean log_evidence in nats, never negative, `[batch]`: what the
            average gains over a typical member. 0 where all weights that the data allow agree.
        variance: of log_evidence over members, in squared nats, `[batch]`.
        waic: mean log_evidence - variance, `[batch]`: low where members are unsure of x or agree
            that it is improbable (Choi, Jang, Alemi 2018, arXiv 1810.01392).
    """

    log_evidence: Float[Array, "batch member"]
    predictive: Float[Array, " batch"]
    information: Float[Array, " batch"]
    variance: Float[Array, " batch"]
    waic: Float[Array, " batch"]


def disagreement(
    key: PRNGKeyArray,
    model: LatentModel,
    x: PyTree,
    *,
    guide: Guide,
    num_samples: int = 100,
    batch_size: int | None = 256,
    index_offset: Index = 0,
) -> Disagreement:
    """Epistemic uncertainty: how far the weights that the data allow disagree about each x.

    Each member's evidence is the importance-weighted bound of the same draws of z, whose noise then
    cancels in the differences between members for the most part; what remains of it adds to them.

    Args:
        key: a PRNG key.
        model: from `averaged_model`.
        x: `[batch, ...]`.
        guide: ONE x -> q(z | x), shared by all members.
        num_samples: draws of z per x.
        batch_size: observations in memory at once; None takes all.
        index_offset: index of x[0] in the whole data set.

    Returns:
        Disagreement; `-waic`, `variance` and `information` are scores of anomaly.

    Raises:
        InputError: a model without members, x the likelihood gives no density, counts below 1.

    References:
        Daxberger, Hernandez-Lobato, "Bayesian variational autoencoders for unsupervised
        out-of-distribution detection", 2019, arXiv 1912.05651.
    """
    model, guide = compilable(model), compilable(guide)
    if num_samples < 1:
        raise InputError(f"num_samples is {num_samples}: expected at least 1")
    check_batch(x, batch_size)
    check_observations(model, x)
    return _disagreement(
        key, model, guide, x, index_offset, num_samples=num_samples, batch_size=batch_size
    )


@partial(jax.jit, static_argnames=("num_samples", "batch_size"))
def _disagreement(key, model, guide, x, index_offset, *, num_samples, batch_size):
    def one(key, x):
        return compared(member_evidence(key, model, x, guide=guide, num_samples=num_samples))

    return map_observations(one, key, x, batch_size=batch_size, index_offset=index_offset)


def member_evidence(
    key: PRNGKeyArray, model: LatentModel, x: PyTree, *, guide: Guide, num_samples: int
) -> Float[Array, " member"]:
    """log (1/K) sum_k p(z_k) p(x | z_k, theta_s) / q(z_k | x) of each member, for ONE x."""
    proposal = guide(x)

    def log_weights(key):
        z = proposal.sample(key)
        ratio = model.prior.log_prob(z) - proposal.log_prob(z)
        return _with_members(model.likelihood(z)).member_log_prob(x) + ratio

    weights = jax.vmap(log_weights, out_axes=-1)(jax.random.split(key, num_samples))
    return log_mean_exp(weights)


def _with_members(likelihood):
    if hasattr(likelihood, "member_log_prob"):
        return likelihood
    raise InputError(
        f"the likelihood ({type(likelihood).__name__}) has no members that could disagree: "
        "expected a model from averaged_model"
    )


def compared(log_evidence: Float[Array, "*batch member"]) -> Disagreement:
    """The scores of members whose log p(x | theta_s) is known.

    Args:
        log_evidence: in nats, the members on the last axis.
    """
    predictive, mean = log_mean_exp(log_evidence), jnp.mean(log_evidence, axis=-1)
    variance = jnp.var(log_evidence, axis=-1)
    return Disagreement(log_evidence, predictive, predictive - mean, variance, mean - variance)
