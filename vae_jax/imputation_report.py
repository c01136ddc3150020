"""What a person sees of imputations: a table with its columns explained, and the images."""

import numpy as np
from jaxtyping import Array, Bool, Float, Num
from matplotlib.figure import Figure

from bayes_jax.imputation import Imputations
from vae_jax import plots
from vae_jax.comparison import columns
from vae_jax.latent_images import to_images
from vae_jax.report import Picture
from vae_jax.run_imputation import NAMES, Imputed, rows
from vae_jax.tables import Column, Table

NUM_SHOWN, NUM_DRAWN = 8, 5

_COLUMNS = [
    columns.METHOD,
    Column(
        "rmse",
        "RMSE",
        ".4f",
        "stderr_rmse",
        meaning="of E[x|seen] on hidden pixels, white is 1; all ± are standard errors over images",
    ),
    Column(
        "nll",
        "NLL, nats / pixel",
        ".4f",
        "stderr",
        meaning="-log p(hidden pixels together | seen) over their number; an 'estimate' is "
        "-log mean over the draws of z of p(hidden | z), high where they are few",
    ),
    Column("kind", "kind"),
    Column(
        "coverage",
        "coverage of 90%",
        ".3f",
        "stderr_coverage",
        meaning="hidden pixels inside the central 90% interval of the imputations, ties shared "
        "out, so that it is 0.9 for a calibrated way, for pixels that are 0 or 1 too",
    ),
    columns.MAX_RHAT,
    columns.SECONDS,
    columns.NUM_IMAGES,
]
_NOTE = (
    "exact and MCMC on z draw from the model's own p(hidden|seen), so their RMSE and NLL judge the "
    "model; pseudo-Gibbs asks an encoder of whole images and is cheap but approximate; Metropolis "
    "within Gibbs corrects it, as far as its chains get."
)


def table(name: str, finished: list[Imputed], *, white: float = 1.0) -> Table:
    """The measures of every way.

    Args:
        name: of the model.
        finished: of one run.
        white: the brightest pixel.
    """
    return Table("Hidden pixels", rows(name, finished, white=white), _COLUMNS, _NOTE)


def introduction(
    run_name: str, data_name: str, missing: Bool[Array | np.ndarray, "image dim"]
) -> str:
    """What was done and how to read it."""
    return (
        f"Of {len(missing)} test images of {data_name} {np.mean(missing):.0%} of the pixels are "
        f"hidden. The trained model of {run_name} fills them in, several times each image: "
        "imputations are draws from what it takes for possible given the pixels it sees."
    )


def pictures(
    finished: list[Imputed],
    x: Float[Array | np.ndarray, "image dim"],
    missing: Bool[Array | np.ndarray, "image dim"],
    shape: tuple[int, ...],
    *,
    white: float = 1.0,
) -> list[Picture]:
    """The imputations of every way, and where there are several their means side by side.

    Args:
        finished: of one run.
        x: the whole images.
        missing: their masks.
        shape: (height, width).
        white: the brightest pixel.
    """
    x, missing = np.asarray(x[:NUM_SHOWN]), np.asarray(missing[:NUM_SHOWN])
    drawn = [_of_way(entry, x, missing, shape, white) for entry in finished]
    return drawn if len(drawn) < 2 else [_means(finished, x, missing, shape, white), *drawn]


def figure(
    imputations: Imputations,
    x: Num[np.ndarray, "image dim"],
    missing: Bool[np.ndarray, "image dim"],
    shape: tuple[int, ...],
    *,
    title: str,
    white: float = 1.0,
) -> Figure:
    """A row for each image: whole, what is seen of it, `NUM_DRAWN` imputations and their mean.

    Args:
        imputations: of these images and maybe more.
        x: the whole images.
        missing: their masks.
        shape: (height, width).
        title: of the figure.
        white: the brightest pixel.
    """
    completed = np.asarray(imputations.x[: len(x), :NUM_DRAWN])
    views = [x, x, *np.moveaxis(completed, 1, 0), np.asarray(imputations.mean[: len(x)])]
    headers = ["original", "seen", *_numbered(completed.shape[1]), "mean"]
    return _of_views(views, missing, shape, white, headers=headers, title=title)


def _of_way(entry: Imputed, x, missing, shape, white) -> Picture:
    title = f"Hidden pixels imputed: {NAMES[entry.method]}"
    drawn = figure(entry.imputations, x, missing, shape, title=title, white=white)
    caption = "Imputations are draws, pixels drawn too; the mean is E[x|seen]."
    return Picture(f"imputations_{entry.method}", drawn, caption)


def _means(finished: list[Imputed], x, missing, shape, white) -> Picture:
    means = [np.asarray(entry.imputations.mean[: len(x)]) for entry in finished]
    headers = ["original", "seen", *(_SHORT[entry.method] for entry in finished)]
    title = "Hidden pixels: E[x|seen] by every way"
    figure = _of_views([x, x, *means], missing, shape, white, headers=headers, title=title)
    return Picture("means", figure, "The mean of hidden pixels by every way, on the same images.")


_SHORT = {
    "exact": "exact",
    "mcmc": "MCMC",
    "metropolis": "Metropolis",
    "pseudo_gibbs": "pseudo-Gibbs",
}


def _numbered(num: int) -> list[str]:
    return [f"draw {index + 1}" for index in range(num)]


def _of_views(views, missing, shape, white, *, headers, title):
    """Columns of images; in the second one the hidden pixels are hidden."""
    images = np.stack([to_images(view, shape, white=white) for view in views], axis=1)
    hidden = np.zeros(images.shape, bool)
    hidden[:, 1] = missing.reshape(-1, *shape)
    return plots.completions(images, hidden, headers=headers, title=title)
