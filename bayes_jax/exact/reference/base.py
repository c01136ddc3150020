"""What a reference is: a model together with the truth about it."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, Num, PRNGKeyArray

from bayes_jax.batching import map_observations
from bayes_jax.model import Guide, LatentModel

Observations = Num[Array | np.ndarray, "batch dim"]
LogEvidence = Float[Array, " batch"]
Moments = tuple[Float[Array, "batch latent"], Float[Array, "batch latent latent"]]


class Reference(NamedTuple):
    """A model and the truth about it. Draw observations with `bayes_jax.simulate`.

    Attributes:
        name: the key in `REFERENCES`.
        model: the model.
        posterior: ONE x `[dim]` -> p(z | x) as a Distribution, normalised, with exact draws: in
            closed form or a `LatticePosterior`. As a guide it leaves no gap and no error.
        log_evidence: x `[batch, dim]` -> log p(x) in nats, `[batch]`.
        posterior_moments: x `[batch, dim]` -> E[z | x] `[batch, latent]` and Cov[z | x]
            `[batch, latent, latent]`.
    """

    name: str
    model: LatentModel
    posterior: Guide
    log_evidence: Callable[[Observations], LogEvidence]
    posterior_moments: Callable[[Observations], Moments]

    def draw_posterior(
        self, key: PRNGKeyArray, x: Observations, num: int
    ) -> Float[Array, "batch draw latent"]:
        """Independent, exact draws from p(z | x) of each x.

        By quadrature "exact" is up to the mass that the lattice gave up, below 1e-4 here, and
        float32; a NaN stands where even that cannot be had.

        Args:
            key: a PRNG key.
            x: observations `[batch, dim]`.
            num: draws for each.

        Returns:
            z `[batch, draw, latent]`.
        """
        return _draw(self.posterior, key, x, num)


@partial(jax.jit, static_argnums=3)
def _draw(posterior, key, x, num):
    return map_observations(lambda key, x: posterior(x).sample(key, (num,)), key, x)
