"""How fast: rates of several ways to do the same."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from vae_jax.plots.style import PALETTE, set_title, styled


@styled
def rates(
    names: Sequence[str],
    values: Float[np.ndarray, " method"],
    with_compile: Float[np.ndarray, " method"],
    *,
    title: str,
    unit: str,
) -> Figure:
    """Bars on a logarithmic axis; a line across each marks its rate when compiling counts.

    Args:
        names: of the methods, top to bottom.
        values: rates, positive.
        with_compile: rates when the time to compile is counted.
        title: of the figure.
        unit: of the rates.
    """
    figure = Figure(figsize=(9, 1.2 + 0.36 * len(names)))
    axes = figure.subplots()
    rows = np.arange(len(names))
    axes.barh(rows, values, height=0.62, color=PALETTE[0], label="without compiling")
    axes.plot(with_compile, rows, "|", color=PALETTE[1], markersize=14, label="with compiling")
    for row, value in enumerate(values):
        label = f"{value:,.0f}"
        axes.annotate(label, (value, row), (6, 0), textcoords="offset points", va="center")
    axes.set_yticks(rows, names)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlim(0.5 * float(np.min(with_compile)), 2.5 * float(np.max(values)))
    axes.set_xlabel(unit)
    axes.grid(axis="x")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower left", ncols=2)
    set_title(figure, title)
    return figure


@styled
def rate_panels(
    names: Sequence[str],
    values: Float[np.ndarray, "panel method"],
    typical: Float[np.ndarray, "panel method"],
    *,
    panels: Sequence[str],
    title: str,
    unit: str,
) -> Figure:
    """The same methods in several settings, a panel each with an axis of its own from zero.

    Args:
        names: of the methods, top to bottom.
        values: rates of the fastest run.
        typical: rates of the median run, a line across each bar.
        panels: what the settings are called.
        title: of the figure.
        unit: of the rates.
    """
    figure = Figure(figsize=(3 + 3.2 * len(panels), 1.6 + 0.34 * len(names)))
    rows = np.arange(len(names))
    for index, axes in enumerate(np.atleast_1d(figure.subplots(1, len(panels), sharey=True))):
        axes.barh(rows, values[index], height=0.62, color=PALETTE[0], label="fastest run")
        axes.plot(typical[index], rows, "|", color=PALETTE[1], markersize=14, label="median run")
        for row, value in enumerate(values[index]):
            label = f"{value:,.0f}" if value >= 100 else f"{value:,.1f}"
            axes.annotate(label, (value, row), (6, 0), textcoords="offset points", va="center")
        axes.set_xlim(0, 1.25 * float(np.max(values[index])))
        axes.set_title(panels[index])
        axes.set_xlabel(unit)
        axes.grid(axis="x")
    axes.set_yticks(rows, names)
    axes.invert_yaxis()
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower left", ncols=2)
    set_title(figure, title)
    return figure


@styled
def signal_to_noise(
    parts: dict[str, dict[str, Sequence[tuple[int, float]]]], *, title: str
) -> Figure:
    """Lines over the number of samples on logarithmic axes, a panel for each part of a model.

    Args:
        parts: part -> estimator -> pairs (number of samples, ratio).
        title: of the figure.
    """
    figure = Figure(figsize=(1 + 4 * len(parts), 3.8))
    panels = np.atleast_1d(figure.subplots(1, len(parts), sharey=True))
    for axes, (part, estimators) in zip(panels, parts.items(), strict=True):
        for index, (name, pairs) in enumerate(estimators.items()):
            num_samples, ratios = zip(*pairs, strict=True)
            axes.plot(num_samples, ratios, "o-", color=PALETTE[index], label=name)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xticks(num_samples, map(str, num_samples))
        axes.minorticks_off()
        axes.set_title(part)
        axes.set_xlabel("samples of z for each image")
        axes.grid()
    panels[0].set_ylabel("|mean| / sd, mean over parameters")
    handles = panels[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower left", ncols=len(handles[0]))
    set_title(figure, title)
    return figure


@styled
def differences(
    names: Sequence[str],
    values: Float[np.ndarray, "method run"],
    stderr: Float[np.ndarray, " method"],
    *,
    title: str,
) -> Figure:
    """Differences to a common reference at zero: mean with two standard errors, and every run.

    Args:
        names: of the methods, top to bottom.
        values: differences in nats per image.
        stderr: of their means over runs.
        title: of the figure.
    """
    figure = Figure(figsize=(8, 1.6 + 0.36 * len(names)))
    axes = figure.subplots()
    rows, mean = np.arange(len(names)), values.mean(axis=1)
    axes.axvline(0, color="black", linewidth=1)
    each = np.broadcast_to(rows[:, None], values.shape)
    axes.plot(values.ravel(), each.ravel() + 0.22, "|", color=PALETTE[1], label="each seed")
    style = {"fmt": "o", "capsize": 3, "color": PALETTE[0]}
    axes.errorbar(mean, rows, xerr=2 * stderr, label="mean ± 2 standard errors", **style)
    axes.set_yticks(rows, names)
    axes.invert_yaxis()
    axes.set_xlabel("nats per image; right of 0 is better than the reference")
    axes.grid(axis="x")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower left", ncols=2)
    set_title(figure, title)
    return figure
