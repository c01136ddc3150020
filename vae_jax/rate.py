"""What the rate of a guide, E_x KL(q(z | x) || p(z)), is spent on.

    rate = I(x; z) + KL(q(z) || p(z)),    q(z) = (1/N) sum_n q(z | x_n)

The first part tells observations apart; the second is paid for an aggregate posterior that is not
the prior, and buys nothing.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Num, PRNGKeyArray
from numpyro.distributions import Distribution

from bayes_jax.model import Guide, compilable
from bayes_jax.noise import independent_draws
from vae_jax.posterior_mixture import PosteriorMixture

NUM_DRAWS = 8
_AT_ONCE = 64  # observations whose draws are held against all posteriors


class Rate(NamedTuple):
    """Where nats go, means over observations.

    Attributes:
        rate: KL(q(z | x) || p(z)), estimated by draws as its parts are.
        mutual_information: between z and the number of an observation; log N at most.
        marginal_kl: of the aggregate posterior from the prior, the rest.
    """

    rate: float
    mutual_information: float
    marginal_kl: float


def split_rate(
    key: PRNGKeyArray,
    guide: Guide,
    x: Num[Array, "num *event"],
    prior: Distribution,
    *,
    num_draws: int = NUM_DRAWS,
) -> Rate:
    """The two parts of the rate (Hoffman, Johnson 2016, "ELBO surgery").

    http://approximateinference.org/accepted/HoffmanJohnson2016.pdf

    Args:
        key: of the draws.
        guide: x -> q(z | x).
        x: the N observations that are averaged over.
        prior: p(z).
        num_draws: of z for each x.
    """
    means = _mean_logs(key, compilable(guide), x, prior, num_draws=num_draws)
    own, aggregate, of_prior = (float(mean) for mean in means)
    return Rate(own - of_prior, own - aggregate, aggregate - of_prior)


@partial(jax.jit, static_argnames="num_draws")
def _mean_logs(key, guide, x, prior, *, num_draws):
    """Of draws from the guide: log q(z | x), log q(z) and log p(z)."""
    aggregate = PosteriorMixture(jnp.zeros(len(x)), jax.vmap(guide)(x))

    def one(inputs):
        key, x = inputs
        z = independent_draws(key, guide(x), num_draws)
        logs = guide(x).log_prob(z), aggregate.log_prob(z), prior.log_prob(z)
        return jax.tree.map(jnp.mean, logs)

    means = jax.lax.map(one, (jax.random.split(key, len(x)), x), batch_size=_AT_ONCE)
    return jax.tree.map(jnp.mean, means)
