"""What a person sees of the inferences of one run: tables with their columns explained, figures."""

import numpy as np

from bayes_jax.calibration import Calibration
from bayes_jax.diagnostics import ADVICE
from bayes_jax.estimates import Gaps
from vae_jax import plots, run_calibration
from vae_jax.comparison import certificate, columns, gap_table
from vae_jax.comparison.inferences import Finished
from vae_jax.configs import InferenceBudget
from vae_jax.report import Picture
from vae_jax.run_inference import (
    evidence_rows,
    generalization_rows,
    image_rows,
    posterior_rows,
)
from vae_jax.tables import Column, Table

_EVIDENCE_COLUMNS = [
    columns.METHOD,
    columns.LOG_PROB,
    columns.STDERR_IMAGES,
    columns.KIND,
    columns.BELOW_BEST,
    columns.MEAN_ERROR,
    columns.K_HAT,
    columns.DECODER_CALLS,
    columns.SECONDS,
    columns.NUM_IMAGES,
]
_IMAGE_COLUMNS = [
    Column("method", "image"),
    Column("log_prob", "log p(x), nats", ".3f", "stderr"),
    Column("elbo", "ELBO", ".3f", "stderr_elbo"),
    Column(
        "elbo_optimal",
        "ELBO of q*",
        ".3f",
        "stderr_elbo_optimal",
        meaning="the best of the encoder's family for this image",
    ),
    Column("approximation", "approximation gap", ".3f", "stderr_approximation"),
    Column("amortization", "amortization gap", ".3f", "stderr_amortization"),
]
_TRAIN_COLUMNS = [
    Column("method", "nats per image"),
    Column("train", "training images", ".3f", "stderr_train", "± standard error over images"),
    Column("test", "test images", ".3f", "stderr_test"),
    Column(
        "gap",
        "generalization gap",
        ".3f",
        "stderr",
        "training minus test: in log p(x) the decoder's, in the amortization gap the encoder's",
    ),
    columns.NUM_IMAGES,
]
_POSTERIOR_COLUMNS = [
    Column("method", "sampler"),
    columns.VERDICT,
    columns.MAX_RHAT,
    columns.MIN_ESS,
    columns.MIN_TAIL_ESS,
    columns.MIN_EBFMI,
    columns.DIVERGENCES,
    columns.MEAN_ERROR,
    columns.SECONDS,
]


_CALIBRATION_COLUMNS = [
    columns.METHOD,
    Column(
        "p_value",
        "p value",
        ".2g",
        meaning="that the z which made each image ranks uniformly among the draws of its "
        "posterior, over all latents and the log-likelihood (Bonferroni); small is uncalibrated",
    ),
    Column("worst", "worst quantity"),
    Column("p_value_likelihood", "p value of log p(x|z)", ".2g"),
    Column("num_images", "simulated images"),
]


def introduction(run_name: str, data_name: str, budget: InferenceBudget, num_images: int) -> str:
    """What was done and how to read it."""
    return (
        f"The trained model of {run_name} is kept as it is; each inference answers for the same "
        f"{num_images} test images of {data_name} ({min(budget.num_posteriors, num_images)} of "
        "them by MCMC): how probable is the image, and which z made it? All values are in nats "
        "per image."
    )


def tables(
    name: str,
    finished: list[Finished],
    cases: dict[str, Calibration] | None = None,
    train: list[Finished] | None = None,
) -> list[Table]:
    """Evidence, and where the model has them gaps, posterior and calibration.

    Args:
        name: of the model.
        finished: of one run.
        cases: calibration of each inference.
        train: what the gaps are made of, on training images.
    """
    found = [Table("Evidence", evidence_rows(name, finished), _EVIDENCE_COLUMNS)]
    sides = certificate.table(name, finished)
    if sides is not None:
        found.append(sides)
    gaps = gap_table.decomposition(finished)
    if gaps is not None:
        found.append(Table("Image by image", image_rows(name, gaps), _IMAGE_COLUMNS))
        judge = gap_table.best_evidence(finished).method.name
        on_train = gap_table.decomposition(train, evidence_of=judge) if train else None
        found.append(gap_table.table(name, gaps, train=on_train))
        if on_train is not None:
            rows = generalization_rows(name, on_train, gaps)
            found.append(Table("Training images beside test images", rows, _TRAIN_COLUMNS))
    rows = posterior_rows(name, finished)
    if rows:
        found.append(Table("Posterior draws", rows, _POSTERIOR_COLUMNS, _advice(finished)))
    if cases:
        rows = run_calibration.rows(name, cases)
        found.append(Table("Calibration", rows, _CALIBRATION_COLUMNS))
    return found


def _advice(finished: list[Finished]) -> str:
    """What to do about the faults that occurred."""
    verdicts = [entry.outcome.verdict for entry in finished if entry.outcome.verdict is not None]
    faults = {fault for verdict in verdicts for fault in verdict.counts()}
    lines = [ADVICE[fault] for fault in sorted(faults)]
    return " ".join(f"{line[0].upper()}{line[1:]}." for line in lines)


def pictures(
    name: str,
    finished: list[Finished],
    images: np.ndarray,
    cases: dict[str, Calibration] | None = None,
) -> list[Picture]:
    """The ladder of bounds, the gaps of each image, and calibration.

    Args:
        name: of the model.
        finished: of one run.
        images: the test images `[image, height, width]`, pixels in [0, 1].
        cases: calibration of each inference.
    """
    gaps = gap_table.decomposition(finished)
    shown = (
        []
        if gaps is None
        else [_ladder(name, finished), _costs(name, finished), _profile(gaps, images)]
    )
    return [*shown, *([_calibration(cases)] if cases else [])]


def _calibration(cases: dict[str, Calibration]) -> Picture:
    caption = (
        "Images simulated from the model know the z that made them. Its rank among the draws of a "
        "posterior is uniform where that is right: the curves stay inside the band, which holds 95 "
        "of 100. Low on the left and high on the right is too wide, the other way round too "
        "narrow. Black: the log-likelihood, which alone sees a posterior that ignores the image."
    )
    figure = plots.calibration(cases, title="Calibration on images simulated from the model")
    return Picture("calibration", figure, caption)


def _ladder(name: str, finished: list[Finished]) -> Picture:
    rows = evidence_rows(name, finished)
    figure = plots.evidence_ladder(
        [row["method"] for row in rows],
        np.array([row["log_prob"] for row in rows]),
        np.array([np.nan if row["stderr"] is None else row["stderr"] for row in rows]),
        [row["kind"] for row in rows],
        title="What each inference makes of log p(x)",
    )
    caption = "Lower bounds further to the right are tighter: same decoder, same images."
    return Picture("evidence", figure, caption)


def _costs(name: str, finished: list[Finished]) -> Picture:
    rows = [row for row in evidence_rows(name, finished) if row["decoder_calls"]]
    figure = plots.bound_costs(
        [row["method"] for row in rows],
        np.array([row["gap"] for row in rows]),
        np.array([np.nan if row["stderr"] is None else row["stderr"] for row in rows]),
        np.array([row["decoder_calls"] for row in rows], np.float64),
    )
    caption = (
        "What each bound leaves on the table, against what it costs: evaluations or gradients of "
        "the decoder for each image, those that tune annealing among them. Below and to the left "
        "is better."
    )
    return Picture("costs", figure, caption)


def _profile(gaps: Gaps, images: np.ndarray) -> Picture:
    figure = plots.gap_profile(
        images,
        np.asarray(gaps.approximation),
        np.asarray(gaps.amortization),
        stderr=np.asarray(gaps.stderr_total),
        evidence_width=float(gaps.evidence_width),
    )
    caption = (
        "Each bar is an image: how many nats the encoder's ELBO lies below its log p(x). Blue is "
        "what the encoder's family can never reach, orange what a better encoder could win. Error "
        "bars: ± Monte Carlo standard error, and upwards what the bound leaves open. The "
        "images below stand under their bars, those that are inferred worst on the right."
    )
    return Picture("gaps", figure, caption)
