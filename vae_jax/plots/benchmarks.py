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
