"""Arrays in, Figure out: no files, no window, no global state.

Pixels lie in [0, 1] (1 is white), densities are in nats per image. Colours are those of Okabe and
Ito, which people who see few colours tell apart (https://jfly.uni-koeln.de/color).
"""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import matplotlib
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#000000", "#F0E442")
"""Blue, orange, green, pink, vermilion, sky, black, yellow (Okabe, Ito 2008)."""

_EXACT_COLOUR = "#9aa0a6"
# What lies between images is NaN: coloured, or white pixels would flow into it.
_GREYS = matplotlib.colormaps["gray"].with_extremes(bad="#7b9cc4")
_STYLE = {
    "figure.constrained_layout.use": True,
    "font.size": 10,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": "#e3e5e8",
    "legend.frameon": False,
    "lines.linewidth": 1.8,
}
_KINDS = {  # kind of evidence -> marker, what it means
    "exact": ("D", "exact"),
    "lower": (">", "lower bound: the truth lies to the right"),
    "sandwich": ("s", "between two bounds"),
    "estimate": ("o", "estimate, no bound"),
}
_REGIONS = (0.5, 0.95)  # shares of the mass that contours enclose
_NUM_RASTER = 160


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


class PosteriorCase(NamedTuple):
    """The posterior of one image in a 2-d latent space, exact and approximate.

    Attributes:
        image: `[height, width]`.
        points: of a lattice, `[point, 2]`.
        weights: exact posterior probability of each point's cell, `[point]`.
        gaussians: name -> (loc `[2]`, covariance `[2, 2]`) of each approximation.
    """

    image: np.ndarray
    points: np.ndarray
    weights: np.ndarray
    gaussians: dict[str, tuple[np.ndarray, np.ndarray]]


class Curve(NamedTuple):
    """How the objective of one model grew.

    Attributes:
        name: of the model.
        epoch: `[num]`.
        train: nats per image `[num]`, or None.
        validation: nats per image `[num]`.
    """

    name: str
    epoch: np.ndarray
    train: np.ndarray | None
    validation: np.ndarray


def _styled(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    @functools.wraps(draw)
    def styled(*args, **options):
        with matplotlib.rc_context(_STYLE):
            return draw(*args, **options)

    return styled


@_styled
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
    _title(figure, title)
    return figure


@_styled
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
    _title(figure, title)
    return figure


@_styled
def gap_bars(
    names: Sequence[str],
    approximation: Float[np.ndarray, " model"],
    amortization: Float[np.ndarray, " model"],
    *,
    stderr: Float[np.ndarray, " model"] | None = None,
    title: str = "Where the ELBO falls short of log p(x)",
) -> Figure:
    """Stacked bars: what the family of q costs, and what the encoder costs on top of it.

    Args:
        names: of the models, top to bottom.
        approximation: log p(x) minus the best ELBO in the family, mean nats per image.
        amortization: that best ELBO minus the encoder's, mean nats per image.
        stderr: standard error of the sum.
        title: of the figure.
    """
    figure = Figure(figsize=(8, 1.5 + 0.5 * len(names)))
    axes = figure.subplots()
    rows = np.arange(len(names))
    total = approximation + amortization
    bars = {
        "approximation gap: the family of q(z|x)": (approximation, 0, PALETTE[0]),
        "amortization gap: the encoder": (amortization, approximation, PALETTE[1]),
    }
    for label, (gap, start, colour) in bars.items():
        axes.barh(rows, gap, left=start, height=0.6, color=colour, label=label)
    if stderr is not None:
        axes.errorbar(total, rows, xerr=stderr, fmt="none", ecolor="black", capsize=3)
    ends = total + (0 if stderr is None else np.nan_to_num(stderr))
    for row, end in enumerate(ends):
        text = f"{approximation[row]:.2f} + {amortization[row]:.2f} = {total[row]:.2f}"
        axes.annotate(text, (end, row), (8, 0), textcoords="offset points", va="center")
    axes.set_yticks(rows, names)
    axes.invert_yaxis()
    axes.set_xlim(min(0.0, float(np.nanmin(approximation))), 1.3 * float(np.nanmax(ends)) or 1.0)
    axes.set_xlabel("nats per image below log p(x)  (shorter is better)")
    axes.grid(axis="x")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower left", ncols=2)
    _title(figure, title)
    return figure


@_styled
def gap_profile(
    images: Float[np.ndarray, "num height width"],
    approximation: Float[np.ndarray, " num"],
    amortization: Float[np.ndarray, " num"],
    *,
    title: str = "Which images the encoder infers badly",
) -> Figure:
    """One stacked bar an image, from the smallest gap to the largest, some images shown below.

    Args:
        images: pixels in [0, 1].
        approximation: log p(x) minus the best ELBO in the family, nats.
        amortization: that best ELBO minus the encoder's, nats.
        title: of the figure.
    """
    order = np.argsort(approximation + amortization)
    ranks, num_shown = np.arange(len(order)), min(16, len(order))
    shown = np.unique(np.linspace(0, len(order) - 1, num_shown).round().astype(int))
    width = len(order) / num_shown
    figure = Figure(figsize=(10, 4.6))
    bars, strip = figure.subplots(2, 1, sharex=True, height_ratios=[5, 1])
    bars.bar(ranks, approximation[order], color=PALETTE[0], label="approximation gap: the family")
    bars.bar(
        ranks,
        amortization[order],
        bottom=approximation[order],
        color=PALETTE[1],
        label="amortization gap: the encoder",
    )
    for rank in shown:
        edges = rank - 0.45 * width, rank + 0.45 * width
        framed = np.pad(images[order[rank]], 1, constant_values=np.nan)
        strip.imshow(framed, cmap=_GREYS, vmin=0, vmax=1, extent=(*edges, 0, 1))
    strip.set(aspect="auto", ylim=(0, 1), xlim=(-0.7 * width, len(order) - 1 + 0.7 * width))
    strip.set_axis_off()
    bars.set_ylabel("nats below log p(x)")
    bars.tick_params(bottom=False, labelbottom=False)
    bars.grid(axis="y")
    figure.legend(*bars.get_legend_handles_labels(), loc="outside lower left", ncols=2)
    _title(figure, title)
    return figure


@_styled
def posterior_contours(
    cases: Sequence[PosteriorCase], *, title: str = "Exact and amortized posterior of some images"
) -> Figure:
    """The exact posterior as shaded regions, Gaussian approximations as outlines over them.

    Both enclose 50 % and 95 % of their mass, so that where the outlines leave the shade, the
    approximation is wrong.

    Args:
        cases: at least one.
        title: of the figure.
    """
    num_columns = min(4, len(cases))
    num_rows = -(-len(cases) // num_columns)
    size = 2.9 if num_columns > 1 else 4
    figure = Figure(figsize=(size * num_columns, size * num_rows + 0.9))
    panels = figure.subplots(num_rows, num_columns, squeeze=False).ravel()
    for index, (axes, case) in enumerate(zip(panels, cases, strict=False)):
        _posterior_panel(axes, case)
        axes.set_xlabel("$z_1$" if index + num_columns >= len(cases) else None)
        axes.set_ylabel("$z_2$" if index % num_columns == 0 else None)
    for axes in panels[len(cases) :]:
        axes.set_axis_off()
    outlines = [
        Line2D([], [], color=colour, label=name)
        for name, colour in zip(cases[0].gaussians, PALETTE[1:], strict=False)
    ]
    exact = Patch(color=_EXACT_COLOUR, label="exact p(z|x): 50 % and 95 % of the mass")
    figure.legend(handles=[exact, *outlines], loc="outside lower center", ncols=len(outlines) + 1)
    _title(figure, title)
    return figure


@_styled
def training_curves(
    curves: Sequence[Curve], *, title: str = "Training: the objective on held-out images"
) -> Figure:
    """Validation (solid) and training (dotted) objective; a dot marks the epoch that is kept.

    Args:
        curves: at least one.
        title: of the figure.
    """
    figure = Figure(figsize=(8, 4.2))
    axes = figure.subplots()
    for curve, colour in zip(curves, _colours(len(curves)), strict=True):
        axes.plot(curve.epoch, curve.validation, color=colour, label=curve.name)
        best = int(np.nanargmax(curve.validation))
        axes.plot(curve.epoch[best], curve.validation[best], "o", color=colour)
        if curve.train is not None:
            axes.plot(curve.epoch, curve.train, ":", color=colour, linewidth=1.2)
    axes.set_ylim(*_plateau(curves))
    axes.set_xlabel("epoch")
    axes.set_ylabel("objective in nats per image\n(higher is better)")
    axes.grid()
    axes.plot([], [], ":", color="black", linewidth=1.2, label="training images")
    axes.plot([], [], "o", color="black", label="best, kept")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper")
    _title(figure, title)
    return figure


@_styled
def evidence_ladder(
    names: Sequence[str],
    values: Float[np.ndarray, " method"],
    stderrs: Float[np.ndarray, " method"],
    kinds: Sequence[str],
    *,
    title: str = "log p(x) by every method",
) -> Figure:
    """Every method's mean log p(x) on one axis, with error bars and what kind of value it is.

    Args:
        names: of the methods, top to bottom.
        values: mean nats per image; NaN where a method gives none.
        stderrs: standard errors; NaN where unknown.
        kinds: "exact", "lower", "sandwich" or "estimate", each.
        title: of the figure.
    """
    figure = Figure(figsize=(8, 1.6 + 0.34 * len(names)))
    axes = figure.subplots()
    best = float(np.nanmax(values))
    axes.axvline(best, color=_EXACT_COLOUR, linewidth=1, linestyle="--")
    for row, (value, stderr, kind) in enumerate(zip(values, stderrs, kinds, strict=True)):
        colour = PALETTE[list(_KINDS).index(kind)]
        bar = None if np.isnan(stderr) else [stderr]
        axes.errorbar([value], [row], xerr=bar, fmt=_KINDS[kind][0], color=colour, capsize=3)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.margins(y=0.6 / len(names))
    axes.set_xlabel("log p(x) in nats per image  (higher is better; bars: ± standard error)")
    axes.grid(axis="x")
    handles = [
        Line2D([], [], linestyle="", marker=marker, color=colour, label=meaning)
        for colour, (kind, (marker, meaning)) in zip(PALETTE, _KINDS.items(), strict=False)
        if kind in kinds
    ]
    figure.legend(handles=handles, loc="outside lower left", ncols=2)
    _title(figure, title)
    return figure


def region_levels(density: Float[np.ndarray, "row column"], shares: Sequence[float]) -> np.ndarray:
    """The density on the border of the smallest regions that hold these shares of the mass.

    Args:
        density: on a regular raster, up to a factor.
        shares: in (0, 1).

    Returns:
        One level a share.
    """
    ordered = np.sort(density.ravel())[::-1]
    mass = np.cumsum(ordered) / ordered.sum()
    return ordered[np.searchsorted(mass, np.asarray(shares))]


def _posterior_panel(axes: Axes, case: PosteriorCase) -> None:
    low, high = _extent(case)
    first, second = (np.linspace(low[i], high[i], _NUM_RASTER) for i in (0, 1))
    density = _rasterize(case, first, second)
    levels = np.sort(region_levels(density, _REGIONS))
    axes.contourf(
        first,
        second,
        density,
        levels=[*levels, density.max() * 1.01],
        colors=["#d5d8dc", "#9aa0a6"],
    )
    for (loc, covariance), colour in zip(case.gaussians.values(), PALETTE[1:], strict=False):
        for share in _REGIONS:
            axes.plot(*_ellipse(loc, covariance, share).T, color=colour, linewidth=1.5)
    axes.set_xlim(low[0], high[0])
    axes.set_ylim(low[1], high[1])
    axes.set_box_aspect(1)
    thumbnail = axes.inset_axes([0.02, 0.78, 0.2, 0.2])
    thumbnail.imshow(case.image, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    thumbnail.set(xticks=[], yticks=[])


def _extent(case: PosteriorCase) -> tuple[np.ndarray, np.ndarray]:
    """Corners of a square around all that a panel shows, with room for the thumbnail."""
    kept = case.points[case.weights > 1e-2 * case.weights.max()]
    shown = [kept, *(_ellipse(*gaussian, _REGIONS[-1]) for gaussian in case.gaussians.values())]
    shown = np.concatenate(shown)
    low, high = shown.min(axis=0), shown.max(axis=0)
    centre, half = (low + high) / 2, 0.66 * max(high - low)
    return centre - half, centre + half


def _rasterize(case: PosteriorCase, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Weights of scattered points as a density `[second, first]`, blurred by one lattice cell."""
    kernels = []
    for axis, raster in enumerate((first, second)):
        coordinates = np.unique(np.round(case.points[:, axis], 9))
        spacing = np.min(np.diff(coordinates)) if len(coordinates) > 1 else 0.0
        width = max(spacing, raster[1] - raster[0])
        kernels.append(np.exp(-0.5 * ((raster[:, None] - case.points[:, axis]) / width) ** 2))
    return (kernels[1] * case.weights) @ kernels[0].T


def _ellipse(loc: np.ndarray, covariance: np.ndarray, share: float) -> np.ndarray:
    """The border `[point, 2]` of the region that holds a share of a 2-d Gaussian."""
    radius = np.sqrt(-2 * np.log1p(-share))
    angle = np.linspace(0, 2 * np.pi, 181)
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    return loc + radius * circle @ np.linalg.cholesky(covariance).T


def _plateau(curves: Sequence[Curve]) -> tuple[float, float]:
    """Limits that show where curves end and not how low they began."""
    lines = [line for curve in curves for line in (curve.validation, curve.train)]
    lines = [line[np.isfinite(line)] for line in lines if line is not None]
    low = min(float(np.quantile(line, 0.2)) for line in lines)
    high = max(float(line.max()) for line in lines)
    margin = 0.08 * (high - low) or 1.0
    return low - margin, high + margin


def _colours(num: int) -> list[str]:
    return [PALETTE[index % len(PALETTE)] for index in range(num)]


def _mosaic(images: np.ndarray, num_columns: int) -> np.ndarray:
    """Images in one, in reading order, NaN between them and where there is none."""
    num, height, width = images.shape
    num_rows = -(-num // num_columns)
    gap = max(1, width // 14)
    tiles = np.full((num_rows * num_columns, height + gap, width + gap), np.nan)
    tiles[:num, :height, :width] = images
    tiles = tiles.reshape(num_rows, num_columns, height + gap, width + gap)
    return tiles.swapaxes(1, 2).reshape(num_rows * (height + gap), -1)[:-gap, :-gap]


def _show(axes: Axes, image: np.ndarray) -> None:
    axes.imshow(image, cmap=_GREYS, vmin=0, vmax=1, interpolation="nearest")
    axes.set_axis_off()


def _title(figure: Figure, title: str) -> None:
    figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
