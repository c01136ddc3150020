"""Pixels that are on or off, and pixels that are a share of on."""

from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jaxtyping import Array, Float, Num, PRNGKeyArray
from numpyro.distributions import constraints

MIN_PROBABILITY = 1e-3
"""Pixel means are clipped to [MIN_PROBABILITY, 1 - MIN_PROBABILITY] before their logit is taken."""

# Below it a Taylor series errs by less than 1e-6, and the closed form loses digits.
_SMALL_LOGIT = 0.5
# Where the mean is MIN_PROBABILITY from an end, the logit is 1 / MIN_PROBABILITY from zero.
_MOST_LOGIT, _NUM_HALVINGS = 2 / MIN_PROBABILITY, 50


def bernoulli(logits: Float[Array, " dim"]) -> dist.Distribution:
    """Independent 0/1 pixels with these logits."""
    return dist.BernoulliLogits(logits).to_event(1)


def bernoulli_features(x: Num[Array | np.ndarray, "batch dim"]) -> Float[Array, " dim"]:
    """The logits of the clipped pixel means (Burda, Grosse, Salakhutdinov 2016, arXiv 1509.00519).

    Args:
        x: a batch of observations.

    Returns:
        Logits `[dim]`.
    """
    return jax.scipy.special.logit(_clipped_mean(x))


class ContinuousBernoulli(dist.Distribution):
    """p(x) = logit exp(logit x) / (exp(logit) - 1) on [0, 1]: a Bernoulli normalised for grey.

    Its normaliser is what a Bernoulli head on grey pixels leaves out (Loaiza-Ganem, Cunningham
    2019, arXiv 1907.06845).
    """

    arg_constraints: ClassVar = {"logits": constraints.real}
    support = constraints.unit_interval
    reparametrized_params: ClassVar = ["logits"]

    def __init__(self, logits, *, validate_args=None):
        """Independent pixels, one for each logit."""
        self.logits = jnp.asarray(logits)
        super().__init__(batch_shape=jnp.shape(logits), validate_args=validate_args)

    def log_prob(self, value: Float[Array | np.ndarray, "..."]) -> Float[Array, "..."]:
        """The log density on [0, 1] in nats."""
        # The density of x at logit is that of 1 - x at -logit: an even normaliser remains.
        return self.logits * (value - 0.5) - _log_sinhc(self.logits / 2)

    def sample(self, key: PRNGKeyArray, sample_shape: tuple[int, ...] = ()) -> Float[Array, "..."]:
        """By the inverse of the distribution function."""
        return self.icdf(jax.random.uniform(key, sample_shape + self.batch_shape))

    def icdf(self, q: Float[Array | np.ndarray, "..."]) -> Float[Array, "..."]:
        """The inverse of the distribution function."""
        is_up, size = self.logits > 0, jnp.abs(self.logits)
        is_small = size < 1e-3
        safe = jnp.where(is_small, 1.0, size)
        # As if the logit were negative, where nothing overflows; the other sign is its mirror.
        falling = -jnp.log1p(jnp.where(is_up, 1 - q, q) * jnp.expm1(-safe)) / safe
        nearly_flat = q + 0.5 * self.logits * q * (1 - q)
        value = jnp.where(is_small, nearly_flat, jnp.where(is_up, 1 - falling, falling))
        return jnp.clip(value, 0.0, 1.0)

    @property
    def mean(self) -> Float[Array, "*batch"]:
        """E[x]."""
        size = jnp.abs(self.logits)
        is_small = size < _SMALL_LOGIT
        safe = jnp.where(is_small, 1.0, size)
        # As if the logit were positive, where nothing overflows; the other sign is its mirror.
        rising = -1 / jnp.expm1(-safe) - 1 / safe
        exact = jnp.where(self.logits < 0, 1 - rising, rising)
        square = self.logits**2
        series = 0.5 + self.logits * (1 / 12 - square * (1 / 720 - square / 30240))
        return jnp.where(is_small, series, exact)

    @property
    def variance(self) -> Float[Array, "*batch"]:
        """Var[x]."""
        is_small = jnp.abs(self.logits) < _SMALL_LOGIT
        safe = jnp.where(is_small, 1.0, self.logits)
        exact = 1 / safe**2 - 0.25 / jnp.sinh(jnp.clip(safe, -80, 80) / 2) ** 2
        square = self.logits**2
        series = 1 / 12 - square * (1 / 240 - square / 6048)
        return jnp.where(is_small, series, exact)


def continuous_bernoulli(logits: Float[Array, " dim"]) -> dist.Distribution:
    """Independent grey levels in [0, 1]."""
    return ContinuousBernoulli(logits).to_event(1)


def continuous_bernoulli_features(x: Num[Array | np.ndarray, "batch dim"]) -> Float[Array, " dim"]:
    """The logits whose means are the clipped pixel means, by halving intervals."""
    mean = _clipped_mean(x)

    def halve(_, ends):
        low, high = ends
        middle = 0.5 * (low + high)
        is_below = ContinuousBernoulli(middle).mean < mean
        return jnp.where(is_below, middle, low), jnp.where(is_below, high, middle)

    ends = jnp.full_like(mean, -_MOST_LOGIT), jnp.full_like(mean, _MOST_LOGIT)
    return jax.lax.fori_loop(0, _NUM_HALVINGS, halve, ends)[0]


def _clipped_mean(x):
    mean = jnp.mean(x, axis=0, dtype=jnp.float32)
    return jnp.clip(mean, MIN_PROBABILITY, 1 - MIN_PROBABILITY)


def _log_sinhc(u):
    """log(sinh(u) / u), even in u."""
    size = jnp.abs(u)
    is_small = size < _SMALL_LOGIT
    safe = jnp.where(is_small, 1.0, size)
    exact = safe + jnp.log(-jnp.expm1(-2 * safe)) - jnp.log(2 * safe)
    square = u**2
    series = square * (1 / 6 - square * (1 / 180 - square / 2835))
    return jnp.where(is_small, series, exact)
