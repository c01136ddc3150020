"""Is an approximate posterior calibrated? Simulated data knows the z that made it.

Averaged over p(x, z), the rank of the z that made x among draws of the TRUE posterior of x is
uniform, for every quantity f(x, z), and a central interval covers it with its nominal probability
(Cook, Gelman, Rubin 2006; Talts et al. 2018, arXiv 1804.06788). One quantity has to look at x: the
ranks of latents alone are uniform even where q(z | x) is the prior (Modrák et al. 2023, arXiv
2211.02383). Here that is the log-likelihood.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray
from scipy import stats

from bayes_jax.errors import InputError
from bayes_jax.estimates import Draws
from bayes_jax.model import LatentModel, compilable, simulate

# Expected count of a bin of the chi-square test.
MIN_PER_BIN = 10
MAX_BINS = 20
# Uniform samples behind bands and p values of the ECDF.
NUM_BAND_SIMULATIONS = 20_000


class Coverage(NamedTuple):
    """Share of latents whose simulated value lies inside its central interval.

    Attributes:
        share: between 0 and 1.
        stderr: its standard error over the simulated observations.
    """

    share: Float[Array, ""]
    stderr: Float[Array, ""]


class Calibration(NamedTuple):
    """Ranks of simulated values among draws, one column per quantity.

    Attributes:
        names: of the quantities: "z[0]", ..., "log p(x|z)".
        ranks: how many of the draws lie below the simulated value, `[simulation, quantity]`.
        num_draws: draws for each simulation; ranks lie in 0 ... num_draws.
        chi_square: p value that the ranks are uniform, by bins, `[quantity]`.
        ecdf: p value by the largest departure of their distribution function, `[quantity]`.
    """

    names: tuple[str, ...]
    ranks: Int[np.ndarray, "simulation quantity"]
    num_draws: int
    chi_square: Float[np.ndarray, " quantity"]
    ecdf: Float[np.ndarray, " quantity"]

    @property
    def p_value(self) -> float:
        """The smallest p value of both tests, times their number (Bonferroni), at most 1."""
        values = np.concatenate([self.chi_square, self.ecdf])
        return float(min(1.0, values.min() * len(values)))


def simulation_based_calibration(
    key: PRNGKeyArray,
    model: LatentModel,
    sampler: Callable,
    *,
    num_simulations: int = 200,
) -> Calibration:
    """Simulate (z, x) from the model, draw from the posterior of each x, and rank z among them.

    Args:
        key: a PRNG key.
        model: p(z) p(x | z).
        sampler: `(key, x [simulation, ...]) -> z [simulation, draw, latent]`, nearly independent
            draws for each x: `thin` those of chains, after `check_valid`.
        num_simulations: at least 100, or little can be seen.

    Returns:
        Calibration, over each latent and the log-likelihood.

    Raises:
        InputError: draws that are not finite, which have no rank.
    """
    key_simulate, key_draws, key_ties = jax.random.split(key, 3)
    z, x = simulate(key_simulate, model, num_simulations)
    draws = sampler(key_draws, x)
    _check_finite(draws)
    return calibration(_ranks(key_ties, compilable(model), z, x, draws), draws.shape[1])


def calibration(
    ranks: Int[Array | np.ndarray, "simulation quantity"], num_draws: int
) -> Calibration:
    """Test ranks for uniformity; the last quantity is the log-likelihood.

    Args:
        ranks: in 0 ... num_draws.
        num_draws: draws behind each rank.

    Raises:
        InputError: too few simulations for a bin test.
    """
    ranks = np.asarray(ranks)
    if len(ranks) < 2 * MIN_PER_BIN:
        raise InputError(
            f"num_simulations is {len(ranks)}: expected at least {2 * MIN_PER_BIN}, better 100"
        )
    names = (*(f"z[{index}]" for index in range(ranks.shape[1] - 1)), "log p(x|z)")
    extremes = _null_extremes(len(ranks), num_draws)
    observed = [_extreme(column, num_draws) for column in ranks.T]
    return Calibration(
        names,
        ranks,
        num_draws,
        chi_square=np.array([_chi_square(column, num_draws) for column in ranks.T]),
        ecdf=np.array([np.mean(np.append(extremes, value) <= value) for value in observed]),
    )


def ecdf_band(
    num_simulations: int, num_draws: int, *, probability: float = 0.95
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where the whole distribution function of uniform ranks lies with a probability.

    Bands whose pointwise coverage is widened until they hold everywhere at once (Säilynoja,
    Bürkner, Vehtari 2022, arXiv 2103.10522), by simulation.

    Args:
        num_simulations: ranks.
        num_draws: behind each rank.
        probability: of the whole band.

    Returns:
        Points in (0, 1], and the band's lower and upper share of ranks below each.
    """
    points = _points(num_draws)
    level = np.quantile(_null_extremes(num_simulations, num_draws), 1 - probability)
    low = stats.binom.ppf(level / 2, num_simulations, points) / num_simulations
    high = stats.binom.ppf(1 - level / 2, num_simulations, points) / num_simulations
    return points, low, high


def ecdf(ranks: Int[np.ndarray, " simulation"], num_draws: int) -> Float[np.ndarray, " point"]:
    """Share of the ranks below each of the points of `ecdf_band`."""
    edges = _points(num_draws) * (num_draws + 1)
    return np.searchsorted(np.sort(ranks), edges - 1e-9) / len(ranks)


def thin(
    z: Float[Array, "batch chain draw latent"], every: int
) -> Float[Array, "batch kept latent"]:
    """Every so many draws of all chains, one axis for both."""
    return z[:, :, ::every].reshape(len(z), -1, z.shape[-1])


def check_valid(draws: Draws) -> None:
    """Refuse chains that went wrong for some x: ranks among them say nothing of a posterior.

    Args:
        draws: of every simulated x.

    Raises:
        InputError: saying of how many, and which is the first.
    """
    _refuse(~np.asarray(draws.valid), "come from chains that met a density that is no number")


def interval_coverage(
    z: Float[Array, "batch latent"],
    draws: Float[Array, "batch draw latent"],
    *,
    probability: float = 0.9,
) -> Coverage:
    """Coverage of the central intervals of `draws`, one set for each simulated z.

    Args:
        z: the values that made each x.
        draws: draws of the approximate posterior of that x, equally weighted.
        probability: nominal coverage.

    Returns:
        Coverage; its error takes observations as independent and the latents of one as not. NaN
        where draws are not finite: those of such an x have no interval.
    """
    tail = (1 - probability) / 2
    low, high = jnp.quantile(draws, jnp.array([tail, 1 - tail]), axis=1)
    inside = jnp.mean((z >= low) & (z <= high), axis=-1)
    inside = jnp.where(jnp.all(jnp.isfinite(draws), axis=(1, 2)), inside, jnp.nan)
    return Coverage(jnp.mean(inside), jnp.std(inside, ddof=1) / jnp.sqrt(len(inside)))


def _check_finite(draws) -> None:
    _refuse(~np.isfinite(np.asarray(draws)).all(axis=(1, 2)), "are not finite")


def _refuse(bad, what: str) -> None:
    if bad.any():
        raise InputError(
            f"draws of {bad.sum()} of {len(bad)} observations {what}, the first of them "
            f"x[{int(np.argmax(bad))}]: expected a sampler that gives every x finite draws"
        )


@jax.jit
def _ranks(key, model: LatentModel, z, x, draws) -> Int[Array, "simulation quantity"]:
    def quantities(z, x):
        return jnp.append(z, model.likelihood(z).log_prob(x))

    def one(key, z, x, draws):
        value, values = quantities(z, x), jax.vmap(partial(quantities, x=x))(draws)
        # Ties (draws that stand at the simulated value) are broken at random.
        ties = jnp.sum(values == value, axis=0)
        broken = jnp.floor(jax.random.uniform(key, ties.shape) * (ties + 1)).astype(ties.dtype)
        return jnp.sum(values < value, axis=0) + broken

    keys = jax.random.split(key, len(z))
    return jax.vmap(one)(keys, z, x, draws)


def _chi_square(ranks: np.ndarray, num_draws: int) -> float:
    num_bins = min(MAX_BINS, num_draws + 1, len(ranks) // MIN_PER_BIN)
    bins = ranks * num_bins // (num_draws + 1)
    # Ranks do not divide evenly among bins: neither do their expectations.
    expected = np.bincount(np.arange(num_draws + 1) * num_bins // (num_draws + 1))
    counts = np.bincount(bins, minlength=num_bins)
    return float(stats.chisquare(counts, expected * len(ranks) / (num_draws + 1)).pvalue)


def _points(num_draws: int) -> np.ndarray:
    """Where the distribution function is looked at: multiples of 1 / (num_draws + 1)."""
    steps = np.unique(np.linspace(1, num_draws, min(num_draws, 100)).round())
    return steps / (num_draws + 1)


def _extreme(ranks: np.ndarray, num_draws: int) -> float:
    """The smallest two-sided binomial tail of the distribution function over all points."""
    points, num = _points(num_draws), len(ranks)
    return float(_tails(np.round(ecdf(ranks, num_draws) * num), num, points).min())


def _null_extremes(num_simulations: int, num_draws: int) -> np.ndarray:
    """Of ranks that are uniform; a fixed seed makes p values repeat."""
    points = _points(num_draws)
    shares = np.diff(np.concatenate([[0.0], points, [1.0]]))
    random = np.random.default_rng(0)
    counts = random.multinomial(num_simulations, shares, size=NUM_BAND_SIMULATIONS)
    below = np.cumsum(counts[:, :-1], axis=1)
    table = _tails(np.arange(num_simulations + 1)[:, None], num_simulations, points)
    return table[below, np.arange(len(points))].min(axis=1)


def _tails(counts, num: int, points: np.ndarray) -> np.ndarray:
    below = stats.binom.cdf(counts, num, points)
    above = stats.binom.sf(counts - 1, num, points)
    return 2 * np.minimum(below, above)
