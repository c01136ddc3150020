"""Whole grey levels 0 .. num_levels - 1: log p(x) is that of an integer, not of a point near it."""

from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jaxtyping import Array, Float, Num, PRNGKeyArray
from numpyro.distributions import constraints

from vae_jax.likelihoods.head import positive_scale, unconstrained_scale

MIN_LEVEL_SCALE = 1e-3
"""Floor of the logistic's scale in units of the whole range: a quarter of one of 256 levels."""


class WholeLevels(constraints.ParameterFreeConstraint):
    """0 .. num_levels - 1. The number is static: a mixture wants a support free of parameters."""

    is_discrete = True

    def __init__(self, num_levels: int):
        self.num_levels = num_levels

    def __call__(self, x):
        """Whether each x is a level."""
        # 255 is a byte and 256 is none: as one it would be 0.
        return (x >= 0) & (x <= self.num_levels - 1) & (x % 1 == 0)

    def feasible_like(self, prototype):
        """The level 0."""
        return jnp.zeros_like(prototype)

    def eq(self, other: object, static: bool = False):
        """Whether another constraint is this one."""
        return isinstance(other, WholeLevels) and other.num_levels == self.num_levels

    def tree_flatten(self):
        """All of it is static."""
        return (), ((), {"num_levels": self.num_levels})


class DiscretizedLogistic(dist.Distribution):
    """P(x = k) is what a logistic on the real line has between k / num_levels and the next level.

    The first and the last level take what lies beyond them (Kingma et al. 2016, arXiv 1606.04934;
    Salimans et al. 2017, arXiv 1701.05517), so that the levels sum to one.
    """

    arg_constraints: ClassVar = {"loc": constraints.real, "scale": constraints.positive}
    pytree_aux_fields = ("num_levels",)

    def __init__(self, loc, scale, num_levels, *, validate_args=None):
        """Loc and scale in units of the whole range, levels from 0 on."""
        self.loc, self.scale = jnp.broadcast_arrays(jnp.asarray(loc), jnp.asarray(scale))
        self.num_levels = num_levels
        super().__init__(batch_shape=self.loc.shape, validate_args=validate_args)

    @constraints.dependent_property(is_discrete=True, event_dim=0)
    def support(self):
        """The levels."""
        return WholeLevels(self.num_levels)

    def log_prob(self, value: Num[Array | np.ndarray, "..."]) -> Float[Array, "..."]:
        """The log probability of a level in nats."""
        low = (value / self.num_levels - self.loc) / self.scale
        width = 1 / (self.num_levels * self.scale)
        # sigmoid(high) - sigmoid(low) = sigmoid(high) sigmoid(-low) (1 - exp(low - high)), and the
        # end levels lack one of these borders: nothing cancels, however far out.
        is_first, is_last = value == 0, value == self.num_levels - 1
        below_high = jnp.where(is_last, 0.0, jax.nn.log_sigmoid(low + width))
        above_low = jnp.where(is_first, 0.0, jax.nn.log_sigmoid(-low))
        between = jnp.where(is_first | is_last, 0.0, jnp.log(-jnp.expm1(-width)))
        return below_high + above_low + between

    def sample(self, key: PRNGKeyArray, sample_shape: tuple[int, ...] = ()) -> Num[Array, "..."]:
        """A logistic draw, rounded down to its level."""
        point = dist.Logistic(self.loc, self.scale).sample(key, sample_shape)
        level = jnp.floor(point * self.num_levels)
        return jnp.clip(level, 0, self.num_levels - 1).astype(jnp.int32)

    @property
    def mean(self) -> Float[Array, "*batch"]:
        """The mean level: the sum of P(x >= k) over k >= 1."""
        borders = jnp.arange(1, self.num_levels) / self.num_levels
        return jnp.sum(
            jax.nn.sigmoid((self.loc[..., None] - borders) / self.scale[..., None]), axis=-1
        )

    @property
    def variance(self) -> Float[Array, "*batch"]:
        """Of the level: E[x^2] is the sum of (2 k - 1) P(x >= k)."""
        levels = jnp.arange(1, self.num_levels)
        above = jax.nn.sigmoid(
            (self.loc[..., None] - levels / self.num_levels) / self.scale[..., None]
        )
        return jnp.sum((2 * levels - 1) * above, axis=-1) - self.mean**2


class Levels(dist.CategoricalLogits):
    """A categorical over levels that also takes them as floats, as the training loop hands them."""

    def log_prob(self, value: Num[Array | np.ndarray, "..."]) -> Float[Array, "..."]:
        """The log probability of a level in nats."""
        return super().log_prob(jnp.asarray(value).astype(jnp.int32))

    @property
    def mean(self) -> Float[Array, "*batch"]:
        """The mean level."""
        return self.probs @ jnp.arange(self.logits.shape[-1], dtype=self.logits.dtype)


def discretized_logistic(
    features: Float[Array, " features"], *, num_levels: int
) -> dist.Distribution:
    """Independent pixels; features are loc and unconstrained scale of each, `[dim * 2]`."""
    loc, unconstrained = features.reshape(-1, 2).T
    scale = positive_scale(unconstrained, min_scale=MIN_LEVEL_SCALE)
    return DiscretizedLogistic(loc, scale, num_levels).to_event(1)


def discretized_logistic_features(
    x: Num[Array | np.ndarray, "batch dim"], *, num_levels: int
) -> Float[Array, " features"]:
    """The loc and scale of the pixels' means and standard deviations."""
    unit = (jnp.asarray(x, jnp.float32) + 0.5) / num_levels
    return jnp.stack([jnp.mean(unit, axis=0), _initial_scale(unit)], axis=-1).reshape(-1)


def logistic_mixture(
    features: Float[Array, " features"], *, num_levels: int, num_components: int
) -> dist.Distribution:
    """Independent pixels, each a mixture; features: logits, locs, unconstrained scales of each.

    Args:
        features: `[dim * 3 * num_components]`.
        num_levels: of a pixel.
        num_components: of each pixel's mixture.
    """
    logits, loc, unconstrained = jnp.unstack(features.reshape(-1, 3, num_components), axis=1)
    scale = positive_scale(unconstrained, min_scale=MIN_LEVEL_SCALE)
    components = DiscretizedLogistic(loc, scale, num_levels)
    return dist.MixtureSameFamily(dist.CategoricalLogits(logits), components).to_event(1)


def logistic_mixture_features(
    x: Num[Array | np.ndarray, "batch dim"], *, num_levels: int, num_components: int
) -> Float[Array, " features"]:
    """Equal weights, locs spread over two standard deviations of each pixel."""
    unit = (jnp.asarray(x, jnp.float32) + 0.5) / num_levels
    mean, spread = (part[:, None] for part in (jnp.mean(unit, axis=0), jnp.std(unit, axis=0)))
    offsets = jnp.linspace(-1.0, 1.0, num_components) if num_components > 1 else jnp.zeros(1)
    loc = mean + spread * offsets
    scale = jnp.broadcast_to(_initial_scale(unit)[:, None], loc.shape)
    return jnp.stack([jnp.zeros_like(loc), loc, scale], axis=1).reshape(-1)


def categorical(features: Float[Array, " features"], *, num_levels: int) -> dist.Distribution:
    """Independent pixels with a probability for each level; features are logits."""
    return Levels(features.reshape(-1, num_levels)).to_event(1)


def categorical_features(
    x: Num[Array | np.ndarray, "batch dim"], *, num_levels: int
) -> Float[Array, " features"]:
    """The logs of each pixel's frequencies, one more of every level than was seen."""
    one_more = [jnp.sum(jnp.asarray(x) == level, axis=0) + 1.0 for level in range(num_levels)]
    return jnp.log(jnp.stack(one_more, axis=-1)).reshape(-1)


def _initial_scale(unit):
    # A logistic of scale s has standard deviation s pi / sqrt(3).
    scale = jnp.std(unit, axis=0) * (3**0.5 / jnp.pi)
    return unconstrained_scale(scale, min_scale=MIN_LEVEL_SCALE)
