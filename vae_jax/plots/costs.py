"""What log p(x) costs: in decoder calls of a bound, in seconds of a model's training."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from vae_jax.plots.evidence import KINDS
from vae_jax.plots.style import EXACT_COLOUR, PALETTE, colours, set_title, styled


@styled
def bound_costs(
    names: Sequence[str],
    gaps: Float[np.ndarray, " method"],
    stderrs: Float[np.ndarray, " method"],
    costs: Float[np.ndarray, " method"],
    *,
    title: str = "What each bound leaves on the table, and what it costs",
    ylabel: str = "nats per image below the best",
    at_the_edge: str = "the best",
) -> Figure:
    """Nats below the best value against decoder calls, both on logarithmic axes.

    Args:
        names: of the methods.
        gaps: mean nats per image below the best value, or of any other lack; those that are not
            above 0 stand on the lower edge.
        stderrs: Monte Carlo standard errors; NaN where unknown.
        costs: decoder calls per image, positive.
        title: of the figure.
        ylabel: what the gaps are.
        at_the_edge: what the legend says of those on the lower edge.
    """
    figure = Figure(figsize=(8, 4.2))
    axes = figure.subplots()
    above = gaps[gaps > 0]
    floor = 0.5 * float(above.min()) if len(above) else 0.01
    shown = np.maximum(gaps, floor)
    for row, (name, colour) in enumerate(zip(names, colours(len(names)), strict=True)):
        marker = "o" if gaps[row] > floor else "v"
        bar = None if np.isnan(stderrs[row]) else [stderrs[row]]
        label = name if gaps[row] > floor else f"{name} ({at_the_edge})"
        axes.errorbar(
            costs[row], shown[row], yerr=bar, fmt=marker, color=colour, capsize=3, label=label
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("decoder calls per image")
    axes.set_ylabel(ylabel)
    axes.grid()
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower left", ncols=2)
    set_title(figure, title)
    return figure


@styled
def evidence_over_seconds(
    names: Sequence[str],
    values: Float[np.ndarray, " model"],
    stderrs: Float[np.ndarray, " model"],
    seconds: Float[np.ndarray, " model"],
    kinds: Sequence[str],
    *,
    title: str = "What a model's training buys",
) -> Figure:
    """Test log p(x) against training seconds, the best on top, each named at the right.

    Args:
        names: of the models.
        values: mean nats per image.
        stderrs: standard errors.
        seconds: of training, positive.
        kinds: of evidence: "exact", "lower", "sandwich" or "estimate", each.
        title: of the figure.
    """
    figure = Figure(figsize=(9, 1.6 + 0.36 * max(8, len(names))))
    axes = figure.subplots()
    for value, stderr, second, kind in zip(values, stderrs, seconds, kinds, strict=True):
        marker, colour = KINDS[kind][0], PALETTE[list(KINDS).index(kind)]
        axes.errorbar(second, value, yerr=stderr, fmt=marker, color=colour, capsize=3)
    axes.set_xscale("log")
    axes.margins(0.06)
    axes.set_xlabel("seconds of training, compilation included")
    axes.set_ylabel("test log p(x), nats per image  (higher is better)")
    axes.grid()
    _name_at_the_right(axes, names, seconds, values)
    for kind in dict.fromkeys(kinds):
        marker, meaning = KINDS[kind]
        colour = PALETTE[list(KINDS).index(kind)]
        axes.plot([], [], marker, color=colour, label=meaning.split(":")[0])
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower left", ncols=3)
    set_title(figure, title)
    return figure


def _name_at_the_right(axes, names, seconds, values) -> None:
    """Names in a column beside the axes, as far apart as they are tall, a thin line to each."""
    low, high = axes.get_ylim()
    order = np.argsort(values)
    heights = _apart((np.asarray(values)[order] - low) / (high - low), 0.95 / max(len(names), 12))
    for index, height in zip(order, heights, strict=True):
        axes.annotate(
            names[index],
            (seconds[index], values[index]),
            (1.03, height),
            textcoords="axes fraction",
            va="center",
            arrowprops={
                "arrowstyle": "-",
                "color": EXACT_COLOUR,
                "linewidth": 0.8,
                "relpos": (0, 0.5),  # to where the name begins
                "shrinkB": 6,
            },
        )


def _apart(heights: Float[np.ndarray, " name"], least: float) -> np.ndarray:
    """Rising heights in [0, 1], moved as little as makes each at least so far from the last."""
    offsets = least * np.arange(len(heights))
    levels = heights - offsets
    # The nearest rising sequence: pools of neighbours that would cross share their mean.
    pools: list[list[float]] = []
    for level in levels:
        pools.append([level])
        while len(pools) > 1 and np.mean(pools[-2]) > np.mean(pools[-1]):
            pools[-2:] = [pools[-2] + pools[-1]]
    risen = np.concatenate([np.full(len(pool), np.mean(pool)) for pool in pools]) + offsets
    return _below_one(risen, least)


def _below_one(heights: np.ndarray, least: float) -> np.ndarray:
    """Those above 1 pushed down, and those under them as far as they must."""
    ceilings = 1.0 - least * np.arange(len(heights))[::-1]
    return np.minimum(heights, ceilings)
