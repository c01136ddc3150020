"""Posteriors in a 2-d latent space: the exact one as shaded regions, Gaussians as outlines."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from vae_jax.plots.style import EXACT_COLOUR, PALETTE, set_title, styled

_REGIONS = (0.5, 0.95)  # shares of the mass that contours enclose
_NUM_RASTER = 160


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


@styled
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
    exact = Patch(color=EXACT_COLOUR, label="exact p(z|x): 50 % and 95 % of the mass")
    figure.legend(handles=[exact, *outlines], loc="outside lower center", ncols=len(outlines) + 1)
    set_title(figure, title)
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
