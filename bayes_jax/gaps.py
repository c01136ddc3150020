"""What amortized inference costs, image by image: evidence, ELBO and the two gaps between them.

    log p(x) - ELBO(q) = [log p(x) - ELBO(q*)] + [ELBO(q*) - ELBO(q)]
                           approximation gap       amortization gap

q is the guide, q* the best member of its family for this x (Cremer et al. 2018, arXiv 1801.03558).
`advice` holds the two against what the evidence leaves open and says which part to mend.
"""

from enum import Enum
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from bayes_jax.annealing import Validation, annealed_evidence
from bayes_jax.batching import Index
from bayes_jax.errors import InputError
from bayes_jax.estimates import Evidence, EvidenceKind, Gaps, mean_stderr
from bayes_jax.families import Family, FamilyName
from bayes_jax.importance import elbo
from bayes_jax.model import Guide, LatentModel
from bayes_jax.variational import FittedPosterior, fit_posterior


def inference_gaps(
    key: PRNGKeyArray,
    model: LatentModel,
    x: PyTree,
    *,
    guide: Guide,
    evidence: Evidence | None = None,
    validation: Validation | None = None,
    family: FamilyName | Family | None = None,
    num_samples: int = 1000,
    num_steps: int | None = None,
    num_chains: int = 16,
    num_temperatures: int | None = None,
    batch_size: int | None = None,
    index_offset: Index = 0,
) -> Gaps:
    """Approximation and amortization gap of a guide, per observation, in nats.

    Args:
        key: a PRNG key.
        model: p(z) p(x | z).
        x: `[batch, ...]`.
        guide: the amortized posterior, ONE x -> q(z | x).
        evidence: log p(x) where it is known or already bounded; guide-started AIS, if None. The
            lower side is used, so it has to be one: not of kind ESTIMATE.
        validation: of annealing under this model, from `validate_annealing` with the settings that
            the evidence has; its width becomes the error bar of the evidence.
        family: in which q* is sought: the guide's own, if None; else a name, or a `Family` whose
            `constrain` spans it.
        num_samples: draws behind each ELBO.
        num_steps: of the fit of q*, at most.
        num_chains: of AIS.
        num_temperatures: of AIS.
        batch_size: observations in memory at once; None takes all.
        index_offset: index of x[0] in the whole data set.

    Returns:
        Gaps. A gap may come out below zero by its standard error. The approximation gap is low by
        what a lower bound leaves open, and high by what the fit of q* does.

    Raises:
        InputError: on x the likelihood gives no density, evidence that bounds nothing, or counts
            that make no sense: a single chain has no standard error.
    """
    if evidence is not None:
        _check_lower(evidence)
    elif num_chains < 2:
        raise InputError(f"num_chains is {num_chains}: expected at least 2 for a standard error")
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
    return decompose(evidence, amortized, fitted, validation=validation)


def decompose(
    evidence: Evidence,
    amortized: Evidence,
    fitted: FittedPosterior,
    *,
    validation: Validation | None = None,
) -> Gaps:
    """The gaps from their three parts: evidence, ELBO of the guide, fit of q*, for the same x.

    Args:
        evidence: of which the lower side is used.
        amortized: the guide's ELBO.
        fitted: q* of the guide's family.
        validation: how far the evidence may lie too low.

    Returns:
        Gaps; the standard errors take the three parts as independent.

    Raises:
        InputError: evidence of kind ESTIMATE, which may lie above log p(x) as well as below.
    """
    _check_lower(evidence)
    optimal = fitted.elbo()
    return Gaps(
        log_evidence=evidence.lower,
        elbo=amortized.lower,
        elbo_optimal=optimal.lower,
        approximation=evidence.lower - optimal.lower,
        amortization=optimal.lower - amortized.lower,
        stderr_log_evidence=evidence.stderr_lower,
        stderr_elbo=amortized.stderr_lower,
        stderr_elbo_optimal=optimal.stderr_lower,
        stderr_approximation=jnp.hypot(evidence.stderr_lower, optimal.stderr_lower),
        stderr_amortization=jnp.hypot(optimal.stderr_lower, amortized.stderr_lower),
        stderr_total=jnp.hypot(evidence.stderr_lower, amortized.stderr_lower),
        evidence_width=_width(evidence, validation),
    )


def _check_lower(evidence: Evidence) -> None:
    if evidence.kind == EvidenceKind.ESTIMATE:
        raise InputError(
            "the evidence is of kind ESTIMATE, which may lie above log p(x): expected EXACT, LOWER "
            "or SANDWICH, as from annealed_evidence"
        )


def _width(evidence: Evidence, validation: Validation | None) -> Float[Array, ""]:
    if evidence.kind == EvidenceKind.EXACT:
        return jnp.zeros(())
    if evidence.kind == EvidenceKind.SANDWICH:
        width = evidence.upper - evidence.lower
        return _upper_end(jnp.mean(width), 2 * mean_stderr(width))
    if validation is None:
        return jnp.full((), jnp.nan)
    return _upper_end(validation.width, validation.width_interval[1] - validation.width)


def _upper_end(width, half_interval) -> Float[Array, ""]:
    """Noise may put one side past the other; that says nothing against a width above 0."""
    return jnp.maximum(width, 0) + half_interval


class Mean(NamedTuple):
    """A mean over observations in nats, with its standard error over them."""

    value: Float[Array, ""]
    stderr: Float[Array, ""]


class MeanGaps(NamedTuple):
    """What `Gaps` are in the mean.

    Attributes:
        log_evidence: log p(x).
        elbo: of the guide.
        approximation: gap of the family.
        amortization: gap of the encoder.
    """

    log_evidence: Mean
    elbo: Mean
    approximation: Mean
    amortization: Mean


def mean_gaps(gaps: Gaps) -> MeanGaps:
    """Means over at least 2 observations; their spread has the Monte Carlo errors in it."""
    return MeanGaps(*(_mean(getattr(gaps, name)) for name in MeanGaps._fields))


def _mean(values: Float[Array, " batch"]) -> Mean:
    return Mean(jnp.mean(values), mean_stderr(values))


def generalization_gap(train: Gaps, test: Gaps) -> MeanGaps:
    """How much better training observations fare than unseen ones, in each part.

    Args:
        train: of observations the model was trained on.
        test: of unseen ones.

    Returns:
        Train minus test. In log_evidence it is the decoder that overfits, in amortization, where it
        is negative, the encoder.
    """
    pairs = zip(mean_gaps(train), mean_gaps(test), strict=True)
    return MeanGaps(*(Mean(a.value - b.value, jnp.hypot(a.stderr, b.stderr)) for a, b in pairs))


class Limit(Enum):
    """What limits a model, and what to do about it."""

    ENCODER = "the encoder: a larger one, longer training, or a few steps on q for each x"
    FAMILY = "the family of q: full-rank instead of diagonal, a flow instead of a Gaussian"
    DECODER = "the decoder: inference costs little, so only a better p(x | z) raises log p(x)"
    OVERFITTING = "the decoder overfits: more data, a smaller decoder, or stop earlier"
    LOOSE = "unknown, the evidence is too loose to tell: more temperatures, or more chains"
    UNMEASURED = "unknown, for nobody measured what the evidence leaves open: validate annealing"
    NOISY = "unknown, which part costs most is lost in the noise: more observations"
    BROKEN = "unknown, a gap is not a number: look at the observations where it is not finite"


class Advice(NamedTuple):
    """Which part limits a model.

    Attributes:
        limit: the part, or why it cannot be told.
        cost: nats per observation: of the part, or where the evidence is too loose, what it leaves
            open, whose own error is in it already (standard error NaN); at least, and with its
            error, where it lies below the ELBO of q*.
    """

    limit: Limit
    cost: Mean


# A loss below so many nats per observation is worth nobody's time.
NEGLIGIBLE = 0.1


class _Part(NamedTuple):
    """What one part costs, so that noise which two parts share cancels in their difference.

    Attributes:
        values: of each unseen observation, `[batch]`.
        stderr: of what is the same in all of them.
    """

    values: Float[Array, " batch"]
    stderr: Float[Array, ""] | float = 0.0

    @property
    def cost(self) -> Mean:
        """In the mean."""
        mean = _mean(self.values)
        return mean._replace(stderr=jnp.hypot(mean.stderr, self.stderr))

    def exceeds(self, other: "_Part") -> bool:
        """Whether it costs more, by two standard errors of the difference."""
        stderr = jnp.hypot(self.stderr, other.stderr)
        difference = _Part(self.values - other.values, stderr).cost
        return float(difference.value) > 2 * float(difference.stderr)


def advice(gaps: Gaps, *, train: Gaps | None = None) -> Advice:
    """Say which part limits a model: the one that costs most, if that is beyond its error.

    It has to cost more than each other part by two standard errors of their difference. The
    approximation gap may be larger by what the evidence leaves open: where that could change the
    answer, the answer is that it cannot be told. That gap is a divergence: where even so it is
    clearly negative, the evidence is looser than anybody measured.

    Args:
        gaps: of unseen observations, at least 2.
        train: of training observations; without them overfitting is not looked for.

    Raises:
        InputError: a single observation, whose gaps have no standard error.
    """
    for name, each in (("gaps", gaps), ("train", train)):
        if each is not None and len(each.elbo) < 2:
            raise InputError(f"{name} are of 1 observation: expected at least 2 for their errors")
    parts = _parts(gaps, train)
    costs = {limit: part.cost for limit, part in parts.items()}
    broken = [cost for cost in costs.values() if not jnp.all(jnp.isfinite(jnp.asarray(cost)))]
    if broken:
        return Advice(Limit.BROKEN, broken[0])
    approximation, width = costs[Limit.FAMILY], gaps.evidence_width
    if float(approximation.value + 2 * approximation.stderr + jnp.nan_to_num(width)) < 0:
        return Advice(Limit.LOOSE, approximation._replace(value=-approximation.value))
    limit, cost = max(costs.items(), key=lambda item: float(item[1].value))
    error = 2 * float(cost.stderr)
    is_clear = float(cost.value) >= max(NEGLIGIBLE, error)
    others = [part for other, part in parts.items() if other != limit]
    if is_clear and not all(parts[limit].exceeds(part) for part in others):
        return Advice(Limit.NOISY, cost)
    if is_clear and limit == Limit.FAMILY:
        return Advice(limit, cost)  # What the evidence leaves open only adds to it.
    if not is_clear and float(cost.value) + error >= NEGLIGIBLE:
        return Advice(Limit.NOISY, cost)
    rivals = (float(mean.value) for part, mean in costs.items() if part != Limit.FAMILY)
    if not float(approximation.value + width) <= max(NEGLIGIBLE, *rivals):
        left_open = Mean(width, jnp.full((), jnp.nan))
        return Advice(Limit.LOOSE if jnp.isfinite(width) else Limit.UNMEASURED, left_open)
    return Advice(limit if is_clear else Limit.DECODER, cost)


def _parts(gaps: Gaps, train: Gaps | None) -> dict[Limit, _Part]:
    parts = {Limit.FAMILY: _Part(gaps.approximation), Limit.ENCODER: _Part(gaps.amortization)}
    if train is not None:
        level = _mean(train.log_evidence)
        overfit = _Part(level.value - gaps.log_evidence, level.stderr)
        # Images differ by far more than the gaps do: its noise is not to hide what they say.
        if not float(overfit.cost.value) < 2 * float(overfit.cost.stderr):
            parts[Limit.OVERFITTING] = overfit
    return parts
