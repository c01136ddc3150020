"""What log p(x) is, by every method, and how far the encoder falls short of it."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from vae_jax.plots.images import GREYS
from vae_jax.plots.style import EXACT_COLOUR, PALETTE, set_title, styled

KINDS = {  # kind of evidence -> marker, what it means
    "exact": ("D", "exact"),
    "lower": (">", "lower bound: the truth lies to the right"),
    "sandwich": ("s", "between two bounds"),
    "estimate": ("o", "estimate, no bound"),
}
"""How each kind of evidence is drawn."""

_STRIP_ASPECT = 15.0  # width over height of the row of images below a profile


@styled
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
    axes.axvline(best, color=EXACT_COLOUR, linewidth=1, linestyle="--")
    for row, (value, stderr, kind) in enumerate(zip(values, stderrs, kinds, strict=True)):
        colour = PALETTE[list(KINDS).index(kind)]
        bar = None if np.isnan(stderr) else [stderr]
        axes.errorbar([value], [row], xerr=bar, fmt=KINDS[kind][0], color=colour, capsize=3)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.margins(y=0.6 / len(names))
    axes.set_xlabel("log p(x) in nats per image  (higher is better; bars: ± standard error)")
    axes.grid(axis="x")
    handles = [
        Line2D([], [], linestyle="", marker=marker, color=colour, label=meaning)
        for colour, (kind, (marker, meaning)) in zip(PALETTE, KINDS.items(), strict=False)
        if kind in kinds
    ]
    figure.legend(handles=handles, loc="outside lower left", ncols=2)
    set_title(figure, title)
    return figure


@styled
def gap_bars(
    names: Sequence[str],
    approximation: Float[np.ndarray, " model"],
    amortization: Float[np.ndarray, " model"],
    *,
    stderr: Float[np.ndarray, " model"] | None = None,
    evidence_width: Float[np.ndarray, " model"] | float = 0.0,
    title: str = "Where the ELBO falls short of log p(x)",
) -> Figure:
    """Stacked bars: what the family of q costs, and what the encoder costs on top of it.

    Args:
        names: of the models, top to bottom.
        approximation: log p(x) minus the best ELBO in the family, mean nats per image.
        amortization: that best ELBO minus the encoder's, mean nats per image.
        stderr: standard error of the sum.
        evidence_width: nats by which log p(x) may lie higher, drawn with the stderr; NaN where
            that is unknown.
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
    ends = total
    if stderr is not None:
        errors = _error_bars(stderr, evidence_width)
        axes.errorbar(total, rows, xerr=errors, fmt="none", ecolor="black", capsize=3)
        ends = total + np.nan_to_num(errors[1])
    for row, end in enumerate(ends):
        text = f"{approximation[row]:.2f} + {amortization[row]:.2f} = {total[row]:.2f}"
        axes.annotate(text, (end, row), (8, 0), textcoords="offset points", va="center")
    axes.set_yticks(rows, names)
    axes.invert_yaxis()
    axes.set_xlim(min(0.0, float(np.nanmin(approximation))), 1.3 * float(np.nanmax(ends)) or 1.0)
    axes.set_xlabel("nats per image below log p(x)  (shorter is better)")
    axes.grid(axis="x")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower left", ncols=2)
    set_title(figure, title)
    return figure


@styled
def gap_profile(
    images: Float[np.ndarray, "num height width"],
    approximation: Float[np.ndarray, " num"],
    amortization: Float[np.ndarray, " num"],
    *,
    stderr: Float[np.ndarray, " num"] | None = None,
    evidence_width: float = 0.0,
    title: str = "Which images the encoder infers badly",
) -> Figure:
    """One stacked bar an image, from the smallest gap to the largest, some images shown below.

    Args:
        images: pixels in [0, 1].
        approximation: log p(x) minus the best ELBO in the family, nats.
        amortization: that best ELBO minus the encoder's, nats.
        stderr: standard error of their sum.
        evidence_width: nats by which log p(x) may lie higher, drawn with the stderr; NaN where
            that is unknown.
        title: of the figure.
    """
    order = np.argsort(approximation + amortization)
    ranks, num_shown = np.arange(len(order)), min(16, len(order))
    shown = np.unique(np.linspace(0, len(order) - 1, num_shown).round().astype(int))
    width = len(order) / num_shown
    span = len(order) - 1 + 1.4 * width
    half = min(0.45 * width, 0.5 * span / _STRIP_ASPECT)
    height = 2 * half / span * _STRIP_ASPECT  # of the strip, so that pixels are square
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
    if stderr is not None:
        total = (approximation + amortization)[order]
        bounds = _error_bars(stderr[order], evidence_width)
        bars.errorbar(ranks, total, yerr=bounds, fmt="none", ecolor="black", elinewidth=0.8)
    for rank in shown:
        extent = (rank - half, rank + half, 1 - height, 1)
        framed = np.pad(images[order[rank]], 1, constant_values=np.nan)
        strip.imshow(framed, cmap=GREYS, vmin=0, vmax=1, extent=extent)
    strip.set(aspect="auto", ylim=(0, 1), xlim=(-0.7 * width, len(order) - 1 + 0.7 * width))
    strip.set_axis_off()
    bars.set_ylabel("nats below log p(x)")
    bars.tick_params(bottom=False, labelbottom=False)
    bars.grid(axis="y")
    figure.legend(*bars.get_legend_handles_labels(), loc="outside lower left", ncols=2)
    set_title(figure, title)
    return figure


def _error_bars(stderr: np.ndarray, evidence_width) -> np.ndarray:
    """Below and above: a standard error, and above it what a lower bound leaves open."""
    return np.stack([stderr, stderr + np.nan_to_num(np.broadcast_to(evidence_width, stderr.shape))])
