"""Posterior and evidence by quadrature, for any LatentModel with at most three latent dimensions.

The rule is the simplest there is, a sum over the points of a lattice, because for smooth densities
that vanish at the border its error falls exponentially in (width of the posterior / spacing)^2
(Trefethen, Weideman 2014, "The exponentially convergent trapezoidal rule",
https://doi.org/10.1137/130932132). What is adapted is where the lattice lies: it starts as a box
around the whole prior, and for each x the cells that hold its posterior, in however many pieces and
whatever shape, are split until shifted lattices of twice the spacing agree on the evidence.
"""

from functools import partial
from itertools import product
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logsumexp
from jaxtyping import Array, Float, Int, PyTree

from bayes_jax.batching import check_batch
from bayes_jax.errors import InputError
from bayes_jax.estimates import Evidence, estimated_evidence, exact_evidence
from bayes_jax.model import LatentModel, check_observations, compilable, latent_dim, log_joint

_DEFAULT_NUM_POINTS = {1: 512, 2: 96, 3: 32}
_NUM_PRIOR_DRAWS = 1000

#: Above this many nats of error a value is no longer called exact.
EXACT_TOLERANCE = 1e-2


class GridPosterior(NamedTuple):
    """p(z | x) on the points of a lattice, for one x.

    Attributes:
        points: `[point, latent]`.
        weights: posterior probability of each point's cell, summing to 1, `[point]`.
        log_evidence: log p(x) in nats.
        mean: E[z | x], `[latent]`.
        covariance: Cov[z | x], `[latent, latent]`.
        error: estimate of the error of `log_evidence` in nats, on the safe side: the disagreement
            of lattices with twice the spacing, plus the mass given up, plus that at the border.
        num_evaluations: of log p(x, z), all passes.
        spacing: of the lattice; each point is the centre of a cell of these sides, `[latent]`.
    """

    points: Float[Array, "*batch point latent"]
    weights: Float[Array, "*batch point"]
    log_evidence: Float[Array, "*batch"]
    mean: Float[Array, "*batch latent"]
    covariance: Float[Array, "*batch latent latent"]
    error: Float[Array, "*batch"]
    num_evaluations: Int[Array, "*batch"]
    spacing: Float[Array, "*batch latent"]


def posterior(
    model: LatentModel,
    x: PyTree,
    *,
    num_points: int | None = None,
    span: float = 8.0,
    tolerance: float = 1e-3,
    num_refinements: int = 12,
    chunk_size: int = 512,
) -> GridPosterior:
    """p(z | x) and log p(x) by lattice sums, for ONE x; pure, to be vmapped.

    Args:
        model: with at most three latent dimensions.
        x: one observation.
        num_points: lattice points per axis, even; every pass evaluates `num_points ** latent` of
            them. Defaults to 512, 96 and 32 for one, two and three dimensions.
        span: half-width of the first box in prior standard deviations, around the prior mean.
        tolerance: refine until lattices of twice the spacing agree to so many nats; the lattice
            itself is then far closer.
        num_refinements: most halvings of the spacing.
        chunk_size: points evaluated at once; memory is proportional to it.

    Returns:
        The posterior on `num_points ** latent` points. Look at `error`: it tells of a posterior
        outside the box (raise `span`) or too intricate for the lattice (raise `num_points`).

    Raises:
        InputError: for more than three latent dimensions or an unusable `num_points`.
    """
    dim = latent_dim(model)
    num_points = _check_num_points(dim, num_points)
    log_density = partial(_log_densities, model, x, chunk_size)
    dropped_tolerance = tolerance / 100

    def unfinished(lattice):
        unresolved = _disagreement(lattice) > tolerance
        affordable = _dropped(lattice) < dropped_tolerance
        return unresolved & affordable & (lattice.num_refinements < num_refinements)

    first = _first_lattice(model, log_density, num_points, span)
    return _summary(jax.lax.while_loop(unfinished, partial(_refine, log_density), first))


def posteriors(
    model: LatentModel, x: PyTree, *, batch_size: int | None = None, **options
) -> GridPosterior:
    """`posterior` for a batch of x, compiled once for every model of the same structure.

    Args:
        model: with at most three latent dimensions.
        x: observations `[batch, ...]`.
        batch_size: observations in memory at once; None takes all at once.
        **options: those of `posterior`.

    Returns:
        A GridPosterior with a leading batch axis on every field.

    Raises:
        InputError: for observations or options that cannot be used.
    """
    return _checked(_posteriors, model, x, batch_size, options)


def log_evidence(
    model: LatentModel, x: PyTree, *, batch_size: int | None = None, **options
) -> Evidence:
    """log p(x) by quadrature for a batch of x, compiled once.

    Args:
        model: with at most three latent dimensions.
        x: observations `[batch, ...]`.
        batch_size: observations in memory at once; None takes all at once.
        **options: those of `posterior`.

    Returns:
        Evidence of kind EXACT; of kind ESTIMATE, with the error estimate as its standard error,
        when that exceeds 0.01 nat for any x.

    Raises:
        InputError: for observations or options that cannot be used.
    """
    return evidence(*_checked(_log_evidences, model, x, batch_size, options))


def evidence(log_evidence: Float[Array, " batch"], error: Float[Array, " batch"]) -> Evidence:
    """What lattice sums may claim: the fields of a batched GridPosterior as Evidence.

    Args:
        log_evidence: in nats.
        error: its estimated error in nats.

    Returns:
        Evidence of kind EXACT, or ESTIMATE where the error of any x exceeds 0.01 nat.
    """
    if bool(jnp.all(error <= EXACT_TOLERANCE)):
        return exact_evidence(log_evidence)
    return estimated_evidence(log_evidence, error)


class _Lattice(NamedTuple):
    """Cells split into 2^latent children; the first axis of children is what is summed."""

    points: Float[Array, "cell child latent"]
    log_joint: Float[Array, "cell child"]
    spacing: Float[Array, " latent"]
    lost: Float[Array, ""]  # posterior mass outside the lattice, estimated
    num_refinements: Int[Array, ""]


def _first_lattice(model, log_density, num_points, span) -> _Lattice:
    # Not the prior's own moments, which not every Distribution has. The same draws for every x,
    # so that under vmap the first lattice and the decoder on it are computed once for all x.
    draws = model.prior.sample(jax.random.key(0), (_NUM_PRIOR_DRAWS,))
    spacing = 2 * span * jnp.std(draws, axis=0) / num_points
    axis = 2 * np.arange(num_points // 2) + 1 - num_points // 2
    steps = np.array(list(product(axis, repeat=len(spacing))))
    points = _children(jnp.mean(draws, axis=0) + spacing * steps, spacing)
    lattice = _Lattice(points, log_density(points), spacing, jnp.zeros(()), jnp.asarray(0))
    border = np.any(np.abs(steps) == np.max(steps), axis=1)
    return lattice._replace(lost=jnp.sum(_weights(lattice)[border]))


def _refine(log_density, lattice: _Lattice) -> _Lattice:
    num_cells, _, dim = lattice.points.shape
    _, best = jax.lax.top_k(lattice.log_joint.ravel(), num_cells)
    spacing = lattice.spacing / 2
    points = _children(lattice.points.reshape(-1, dim)[best], spacing)
    lost = lattice.lost + _dropped(lattice)
    return _Lattice(points, log_density(points), spacing, lost, lattice.num_refinements + 1)


def _children(centres, spacing) -> Float[Array, "cell child latent"]:
    corners = np.array(list(product((-0.5, 0.5), repeat=len(spacing))))
    return centres[:, None] + corners * spacing


def _log_densities(model, x, chunk_size, points) -> Float[Array, "cell child"]:
    flat = points.reshape(-1, points.shape[-1])
    values = jax.lax.map(lambda z: log_joint(model, z, x), flat, batch_size=chunk_size)
    return values.reshape(points.shape[:-1])


def _log_evidence(lattice) -> Float[Array, ""]:
    return logsumexp(lattice.log_joint) + jnp.sum(jnp.log(lattice.spacing))


def _weights(lattice) -> Float[Array, "cell child"]:
    return jax.nn.softmax(lattice.log_joint, axis=(0, 1))


def _dropped(lattice) -> Float[Array, ""]:
    """Posterior mass in all but the best `num_cells` points: what refining them would give up."""
    weights = _weights(lattice).ravel()
    least_kept = jax.lax.top_k(weights, lattice.points.shape[0])[0][-1]
    return jnp.sum(jnp.where(weights < least_kept, weights, 0))


def _disagreement(lattice) -> Float[Array, ""]:
    """How far the 2^latent shifted lattices of twice the spacing are from the whole, in nats."""
    coarse = logsumexp(lattice.log_joint, axis=0) + jnp.sum(jnp.log(2 * lattice.spacing))
    return jnp.max(jnp.abs(coarse - _log_evidence(lattice)))


@jax.default_matmul_precision("highest")
def _summary(lattice) -> GridPosterior:
    points = lattice.points.reshape(-1, lattice.points.shape[-1])
    weights = _weights(lattice).ravel()
    # Around the heaviest point: float32 weights sum to 1 only up to 1e-5, which a mean far from
    # the origin and a narrow posterior would feel.
    heaviest = points[jnp.argmax(weights)]
    mean = heaviest + weights @ (points - heaviest)
    covariance = (weights[:, None] * (points - mean)).T @ (points - mean)
    error = _disagreement(lattice) + lattice.lost
    num_evaluations = (1 + lattice.num_refinements) * len(points)
    return GridPosterior(
        points,
        weights,
        _log_evidence(lattice),
        mean,
        covariance,
        error,
        num_evaluations,
        lattice.spacing,
    )


def _check_num_points(dim: int, num_points: int | None) -> int:
    if dim not in _DEFAULT_NUM_POINTS:
        raise InputError(
            f"the model has {dim} latent dimensions: quadrature takes 1 to 3, "
            "use annealed_evidence or sample_posterior"
        )
    if num_points is None:
        return _DEFAULT_NUM_POINTS[dim]
    if num_points < 4 or num_points % 2:
        raise InputError(f"num_points is {num_points}: expected an even number of at least 4")
    return num_points


def _checked(engine, model, x, batch_size, options):
    check_batch(x, batch_size)
    model = compilable(model)
    _check_num_points(latent_dim(model), options.get("num_points"))
    check_observations(model, x)
    num_rows = jax.tree.leaves(x)[0].shape[0]
    return engine(model, x, min(batch_size or num_rows, num_rows), **options)


_OPTIONS = ("num_points", "span", "tolerance", "num_refinements", "chunk_size")
_jit = partial(jax.jit, static_argnums=2, static_argnames=_OPTIONS)


@_jit
def _posteriors(model, x, batch_size, **options):
    return jax.lax.map(lambda x: posterior(model, x, **options), x, batch_size=batch_size)


@_jit
def _log_evidences(model, x, batch_size, **options):
    def one(x):
        grid = posterior(model, x, **options)
        return grid.log_evidence, grid.error

    return jax.lax.map(one, x, batch_size=batch_size)
