"""What a person sees of a comparison: its tables with their columns explained, and its figures."""

import numpy as np

from bayes_jax.exact.quadrature import GridPosterior
from vae_jax import plots
from vae_jax.comparison import columns, gap_table, inferences, methods, model_table
from vae_jax.comparison.inferences import Finished
from vae_jax.comparison.scores import Scored
from vae_jax.configs import InferenceBudget
from vae_jax.data.dataset import Dataset
from vae_jax.latent_images import decode, encode, encoder, to_images
from vae_jax.report import Picture
from vae_jax.tables import Table

NUM_CONTOURS = 8
NUM_SHOWN = 10

INFERENCE_COLUMNS = [
    columns.METHOD,
    columns.LOG_PROB,
    columns.KIND,
    columns.BELOW_BEST,
    columns.MEAN_ERROR,
    columns.COVERAGE,
    columns.K_HAT,
    columns.MAX_RHAT,
    columns.MIN_ESS,
    columns.VERDICT,
    columns.DECODER_CALLS,
    columns.SECONDS,
    columns.NUM_IMAGES,
]


def introduction(dataset: Dataset, budget: InferenceBudget) -> str:
    """What was done and how to read it."""
    return (
        f"A variational autoencoder answers 'which z made this image?' with one pass through its "
        f"encoder. Here its answer is held against exact and Monte Carlo Bayesian inference in the "
        f"same decoder, on the same {budget.num_images} test images of {dataset.name} "
        f"({budget.num_posteriors} for MCMC), in the same nats.\n\n"
        f"The first tables keep the decoder and change the inference; those below keep the data "
        f"and change the model. Training used {len(dataset.train)} images, of which training by "
        f"gradients kept the best epoch on {len(dataset.validation)} validation images; the test "
        f"images come from the {len(dataset.test)} held out."
    )


def inference_table(name: str, entries: list[Finished]) -> Table:
    """One decoder, every inference."""
    rows = inferences.rows(name, entries)
    return Table(f"One decoder, every inference: {name}", rows, INFERENCE_COLUMNS)


def figures(
    dataset: Dataset,
    scored: list[list[Scored]],
    finished: dict[str, list[Finished]],
    x,
) -> list[Picture]:
    """Every figure of a comparison.

    Args:
        dataset: of the images.
        scored: the models of the table, their seeds.
        finished: name of each decoder -> its inferences.
        x: the test images all of them saw.
    """
    return [
        *(_ladder(name, entries) for name, entries in finished.items()),
        _gaps(finished),
        *(
            _contours(name, entries, x, dataset)
            for name, entries in finished.items()
            if inferences.find_exact(entries)
        ),
        _seconds(scored, dataset),
        _pictures([seeds[0] for seeds in scored], dataset, x),
        _curves([seeds[0] for seeds in scored], dataset),
    ]


def _ladder(name: str, entries: list[Finished]) -> Picture:
    rows = [row for row in inferences.rows(name, entries) if row["log_prob"] is not None]
    figure = plots.evidence_ladder(
        [row["method"] for row in rows],
        np.array([row["log_prob"] for row in rows]),
        np.array([np.nan if row["stderr"] is None else row["stderr"] for row in rows]),
        [row["kind"] for row in rows],
        title=f"What each inference makes of log p(x): {name}",
    )
    caption = (
        "The same decoder and the same images: only the inference differs. Lower bounds further to "
        "the right are tighter; none should pass the exact value by more than its error bar."
    )
    return Picture(f"evidence_{_slug(name)}", figure, caption)


def gap_tables(finished: dict[str, list[Finished]]) -> list[Table]:
    """Where the encoder of each decoder loses nats, and what limits the model."""
    return [
        gap_table.table(name, gap_table.decomposition(entries), title=f"Gaps: {name}")
        for name, entries in finished.items()
    ]


def _gaps(finished: dict[str, list[Finished]]) -> Picture:
    gaps = [gap_table.decomposition(entries) for entries in finished.values()]
    figure = plots.gap_bars(
        list(finished),
        np.array([float(np.mean(gap.approximation)) for gap in gaps]),
        np.array([float(np.mean(gap.amortization)) for gap in gaps]),
        stderr=np.array([gap_table.mean_error(gap.stderr_total) for gap in gaps]),
        evidence_width=np.array([float(gap.evidence_width) for gap in gaps]),
    )
    caption = (
        "How many nats the encoder's ELBO lies below log p(x) (exact where it exists, else the "
        "highest lower bound), and why: the approximation gap is what a diagonal Gaussian can "
        "never reach, the amortization gap what a better encoder could win. Error bars: ± Monte "
        "Carlo standard error, and to the right what the bound leaves open."
    )
    return Picture("gaps", figure, caption)


def _contours(name: str, entries: list[Finished], x, dataset: Dataset) -> Picture:
    grid: GridPosterior = inferences.find(entries, methods.EXACT).outcome.grid
    shown = {
        "amortized q": inferences.find(entries, methods.AMORTIZED).outcome,
        "q* mean-field": inferences.find(entries, methods.MEAN_FIELD).outcome,
        "q* full-rank": inferences.find(entries, methods.FULL_RANK).outcome,
    }
    cases = [
        plots.PosteriorCase(
            np.asarray(x[index]).reshape(dataset.image_shape),
            np.asarray(grid.points[index]),
            np.asarray(grid.weights[index]),
            {label: _gaussian(outcome, index) for label, outcome in shown.items()},
        )
        for index in range(min(NUM_CONTOURS, len(x)))
    ]
    caption = (
        "Shaded: where the exact posterior of each image has its mass. Outlines: what the encoder "
        "says, and the best Gaussians without and with correlations. Each encloses 50% and 95%."
    )
    return Picture(f"posteriors_{_slug(name)}", plots.posterior_contours(cases), caption)


def _gaussian(outcome, index: int):
    if outcome.fitted is not None:
        return np.asarray(outcome.fitted.loc[index]), np.asarray(outcome.fitted.covariance[index])
    return np.asarray(outcome.mean[index]), np.cov(np.asarray(outcome.draws[index]).T)


def _seconds(scored: list[list[Scored]], dataset: Dataset) -> Picture:
    rows = model_table.rows(scored, dataset)
    figure = plots.evidence_over_seconds(
        [row["model"] for row in rows],
        np.array([row["log_prob"] for row in rows]),
        np.array([row["stderr"] for row in rows]),
        np.array([row["train_seconds"] for row in rows]),
        [row["kind"] for row in rows],
    )
    caption = (
        "Each model's test log p(x) against what its training took. Bars: ± standard error over "
        "images, most of which all models share; paired differences stand in the table."
    )
    return Picture("evidence_over_seconds", figure, caption)


def _pictures(scored: list[Scored], dataset: Dataset, x) -> Picture:
    models = [_model_images(entry, dataset, x[:NUM_SHOWN]) for entry in scored]
    figure = plots.samples_and_reconstructions(
        models, title="What each model draws, and what it makes of test images"
    )
    caption = "Samples from each model; test images above their reconstructions from E[z | x]."
    return Picture("samples", figure, caption)


def _model_images(entry: Scored, dataset: Dataset, x) -> plots.ModelImages:
    generative = entry.trained.generative
    guide = encoder(generative)
    rebuilt = None if guide is None else decode(generative.latent, encode(guide, x))
    return plots.ModelImages(
        entry.trained.title,
        to_images(entry.samples[: 2 * NUM_SHOWN], dataset.image_shape),
        to_images(x, dataset.image_shape),
        None if rebuilt is None else to_images(rebuilt, dataset.image_shape),
    )


def _curves(scored: list[Scored], dataset: Dataset) -> Picture:
    figure = plots.training_curves(
        [
            _curve(entry, entry.trained.title)
            for entry in scored
            if len(entry.trained.history) > 1 and entry.trained.unit == "nats"
        ]
    )
    caption = (
        "What validation watches: the ELBO, for IWAE its tighter bound, for autoregressive models "
        "log p(x), for deep latent models a short walk of annealing. The dot is kept."
    )
    return Picture("training", figure, caption)


def _curve(entry: Scored, name: str) -> plots.Curve:
    history, generative = entry.trained.history, entry.trained.generative
    # Without a guide, what training climbs is no bound of log p(x).
    is_bound = generative.latent is None or generative.guide is not None
    train = np.array([report.train["objective"] for report in history])
    return plots.Curve(
        name,
        np.array([report.epoch for report in history]),
        train if is_bound else None,
        np.array([report.validation["objective"] for report in history]),
    )


def _slug(name: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in name.lower()).strip("_")
