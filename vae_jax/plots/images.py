"""Images side by side: what models draw and what they give back."""

from collections.abc import Sequence
from typing import NamedTuple

import matplotlib
import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from vae_jax.plots.style import set_title, styled

# What lies between images is NaN: coloured, or white pixels would flow into it.
HIDDEN = "#E69F00"
GREYS = matplotlib.colormaps["gray"].with_extremes(bad="#7b9cc4")


_INCHES_PER_VIEW = 0.95


class ModelImages(NamedTuple):
    """What one model draws and gives back.

    Attributes:
        name: of the model.
        samples: `[num, height, width]`.
        originals: `[num, height, width]`, test images.
        reconstructions: of the originals, or None where the model has none.
    """

    name: str
    samples: np.ndarray
    originals: np.ndarray
    reconstructions: np.ndarray | None


@styled
def image_grid(
    images: Float[np.ndarray, "num height width"], *, title: str, num_columns: int = 10
) -> Figure:
    """Images side by side, in reading order.

    Args:
        images: pixels in [0, 1].
        title: of the figure.
        num_columns: images in a row.
    """
    num_rows = -(-len(images) // num_columns)
    _, height, width = images.shape
    figure = Figure(figsize=(8, 0.5 + 8 * num_rows * height / (num_columns * width)))
    axes = figure.subplots()
    _show(axes, _mosaic(images, num_columns))
    set_title(figure, title)
    return figure


@styled
def samples_and_reconstructions(
    models: Sequence[ModelImages], *, title: str = "What each model draws and gives back"
) -> Figure:
    """One row a model: samples on the left, originals above their reconstructions on the right.

    Args:
        models: at least one.
        title: of the figure.
    """
    num_columns = len(models[0].originals)
    _, height, width = models[0].originals.shape
    row_height = 4.6 * 2 * height / (num_columns * width) + 0.35
    figure = Figure(figsize=(10, 0.7 + row_height * len(models)))
    for row, model in zip(figure.subplots(len(models), 2, squeeze=False), models, strict=True):
        _show(row[0], _mosaic(model.samples[: 2 * num_columns], num_columns))
        row[0].set_title(f"{model.name}: samples", loc="left")
        if model.reconstructions is None:
            row[1].set_axis_off()
            row[1].text(0, 0.5, "no reconstructions: this model has no latent code for an image")
            continue
        pairs = np.concatenate([model.originals, model.reconstructions[:num_columns]])
        _show(row[1], _mosaic(pairs, num_columns))
        row[1].set_title(f"{model.name}: test images, reconstructions below", loc="left")
    set_title(figure, title)
    return figure


@styled
def completions(
    images: Float[np.ndarray, "row column height width"],
    hidden: Bool[np.ndarray, "row column height width"],
    *,
    headers: Sequence[str],
    title: str,
) -> Figure:
    """One row an image, each column another view of it, hidden pixels in a colour of their own.

    Args:
        images: pixels in [0, 1].
        hidden: pixels that are shown as hidden.
        headers: of the columns.
        title: of the figure.
    """
    figure, axes = _table(images, headers)
    _, num_columns, height, width = images.shape
    veil = np.where(hidden, 1.0, np.nan).reshape(-1, height, width)
    cmap = ListedColormap([HIDDEN])
    axes.imshow(_mosaic(veil, num_columns), cmap=cmap, interpolation="nearest")
    set_title(figure, title)
    return figure


@styled
def image_table(
    images: Float[np.ndarray, "row column height width"],
    *,
    row_names: Sequence[str],
    headers: Sequence[str],
    title: str,
) -> Figure:
    """Images in rows and columns that have names.

    Args:
        images: pixels in [0, 1].
        row_names: beside the rows.
        headers: above the columns.
        title: of the figure.
    """
    figure, axes = _table(images, headers)
    middles = 1 - (np.arange(len(row_names)) + 0.5) / len(row_names)
    for name, middle in zip(row_names, middles, strict=True):
        axes.text(-0.01, middle, name, transform=axes.transAxes, ha="right", va="center", size=9)
    set_title(figure, title)
    return figure


def _table(images: np.ndarray, headers: Sequence[str]) -> tuple[Figure, Axes]:
    num_rows, num_columns, height, width = images.shape
    figure_width = max(_INCHES_PER_VIEW * num_columns, 4.5)  # of its title, at least
    figure_height = 0.7 + _INCHES_PER_VIEW * num_rows * height / width
    figure = Figure(figsize=(figure_width, figure_height))
    axes = figure.subplots()
    _show(axes, _mosaic(images.reshape(-1, height, width), num_columns))
    _write_above(axes, headers, (np.arange(num_columns) + 0.5) / num_columns)
    return figure, axes


def _mosaic(images: np.ndarray, num_columns: int) -> np.ndarray:
    """Images in one, in reading order, NaN between them and where there is none."""
    num, height, width = images.shape
    num_rows = -(-num // num_columns)
    gap = max(1, width // 14)
    tiles = np.full((num_rows * num_columns, height + gap, width + gap), np.nan)
    tiles[:num, :height, :width] = images
    tiles = tiles.reshape(num_rows, num_columns, height + gap, width + gap)
    return tiles.swapaxes(1, 2).reshape(num_rows * (height + gap), -1)[:-gap, :-gap]


def _write_above(axes: Axes, headers: Sequence[str], middles: np.ndarray) -> None:
    for header, middle in zip(headers, middles, strict=True):
        axes.text(middle, 1.0, header, transform=axes.transAxes, ha="center", va="bottom", size=9)


def _show(axes: Axes, image: np.ndarray) -> None:
    axes.imshow(image, cmap=GREYS, vmin=0, vmax=1, interpolation="nearest")
    axes.set_axis_off()
