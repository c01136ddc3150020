"""What a latent carries of its observations: rate, distortion, mutual information, active units.

    -ELBO = distortion + rate,    rate = E_x KL(q(z | x) || p(z)) = I_q(x; z) + KL(q(z) || p(z))

with q(z) = mean over x of q(z | x): of the rate only I_q(x; z) says anything of x.

References:
    Hoffman, Johnson 2016, "ELBO surgery", http://approximateinference.org/accepted/HoffmanJohnson2016.pdf;
    Alemi et al. 2018, "Fixing a broken ELBO", arXiv 1711.00464.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Num, PRNGKeyArray

from bayes_jax import GenerativeModel
from bayes_jax.batching import map_observations
from bayes_jax.model import Guide, LatentModel, compilable
from vae_jax.data.text import TextDataset
from vae_jax.objectives.units import active_units
from vae_jax.posterior_mixture import PosteriorMixture
from vae_jax.tables import Column, Table

NUM_DRAWS = 8  # of z for each x
MOST_EXAMPLES = 1000  # of a split: each draw is scored under the q of every x
_AT_ONCE = 16

_COLUMNS = [
    Column("split", "sentences of"),
    Column("rate", "rate, nats", ".3f", "rate_stderr", "mean of KL(q(z|x) || p(z))"),
    Column("distortion", "distortion, nats", ".3f", "distortion_stderr", "-E_q[log p(x|z)]"),
    Column("information", "I_q(x; z), nats", ".3f", "information_stderr"),
    Column("most_information", "at most", ".2f", meaning="log of the number of sentences"),
    Column("active_units", "active units", "d"),
    Column("num_units", "of", "d"),
]
_NOTE = (
    "I_q(x; z) = E[log q(z|x) - log q(z)], q(z) the mean of q(z|x) over these sentences: the rate "
    "less KL(q(z) || p(z)) (Hoffman, Johnson 2016)."
)


class Information(NamedTuple):
    """What z says of each x, means over draws from q(z | x), in nats.

    Attributes:
        rate: of log q(z | x) - log p(z).
        distortion: of -log p(x | z).
        information: of log q(z | x) - log q(z); at most log num. Its mean is I_q(x; z).
    """

    rate: Float[Array, " num"]
    distortion: Float[Array, " num"]
    information: Float[Array, " num"]


def information(
    key: PRNGKeyArray,
    latent: LatentModel,
    x: Num[Array | np.ndarray, "num *event"],
    *,
    guide: Guide,
    num_draws: int = NUM_DRAWS,
) -> Information:
    """Rate, distortion and mutual information, example by example.

    Args:
        key: of the draws.
        latent: p(z) p(x | z).
        x: observations, over which q(z) is the mean of q(z | x).
        guide: ONE x -> q(z | x), with a density.
        num_draws: of z for each x.
    """
    return _information(key, compilable(latent), compilable(guide), x, num_draws=num_draws)


def information_table(key: PRNGKeyArray, model: GenerativeModel, dataset: TextDataset) -> Table:
    """A row for each held-out split.

    Args:
        key: of the draws.
        model: with a guide.
        dataset: its data.
    """
    rows = [_row(key, model, split, getattr(dataset, split)) for split in ("validation", "test")]
    return Table("What z says of a sentence", rows, _COLUMNS, _NOTE)


def _row(key, model, split, rows) -> dict:
    x = jnp.asarray(rows[:MOST_EXAMPLES], jnp.float32)
    terms = information(key, model.latent, x, guide=model.guide)
    each = {name: np.asarray(value, np.float64) for name, value in terms._asdict().items()}
    return {
        "table": "information",
        "split": split,
        **{name: float(value.mean()) for name, value in each.items()},
        **{f"{name}_stderr": _stderr(value) for name, value in each.items()},
        "most_information": float(np.log(len(x))),
        "active_units": int(active_units(model.guide, x)),
        "num_units": model.latent.prior.event_shape[0],
    }


def _stderr(values) -> float:
    return float(values.std(ddof=1) / np.sqrt(len(values)))


@partial(jax.jit, static_argnames="num_draws")
def _information(key, latent, guide, x, *, num_draws):
    everyone = PosteriorMixture(jnp.zeros(len(x)), jax.vmap(guide)(x))

    def one(key, x):
        q = guide(x)
        z = q.sample(key, (num_draws,))
        log_q = q.log_prob(z)
        scores = jax.vmap(lambda z: latent.likelihood(z).log_prob(x))(z)
        terms = log_q - latent.prior.log_prob(z), -scores, log_q - everyone.log_prob(z)
        return Information(*map(jnp.mean, terms))

    return map_observations(one, key, x, batch_size=_AT_ONCE)
