"""How the objective grew while a model was trained."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from vae_jax.plots.style import colours, set_title, styled


class Curve(NamedTuple):
    """How the objective of one model grew.

    Attributes:
        name: of the model.
        epoch: `[num]`.
        train: the objective per image `[num]`, or None.
        validation: the same of held-out images `[num]`.
    """

    name: str
    epoch: np.ndarray
    train: np.ndarray | None
    validation: np.ndarray


@styled
def training_curves(
    curves: Sequence[Curve],
    *,
    title: str = "Training: the objective on held-out images",
    unit: str = "nats",
    noun: str = "images",
) -> Figure:
    """Validation (solid) and training (dotted) objective; a dot marks the epoch that is kept.

    Args:
        curves: at least one.
        title: of the figure.
        unit: of the objective.
        noun: what the models are trained on.
    """
    figure = Figure(figsize=(8, 4.2))
    axes = figure.subplots()
    for curve, colour in zip(curves, colours(len(curves)), strict=True):
        axes.plot(curve.epoch, curve.validation, color=colour, label=curve.name)
        best = int(np.nanargmax(curve.validation))
        axes.plot(curve.epoch[best], curve.validation[best], "o", color=colour)
        if curve.train is not None:
            axes.plot(curve.epoch, curve.train, ":", color=colour, linewidth=1.2)
    axes.set_ylim(*_plateau(curves))
    axes.set_xlabel("epoch")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_ylabel(f"objective in {unit} per {noun.removesuffix('s')}\n(higher is better)")
    axes.grid()
    axes.plot([], [], ":", color="black", linewidth=1.2, label=f"training {noun}")
    axes.plot([], [], "o", color="black", label="best, kept")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper")
    set_title(figure, title)
    return figure


def _plateau(curves: Sequence[Curve]) -> tuple[float, float]:
    """Limits that show where curves end and not how low they began."""
    lines = [line for curve in curves for line in (curve.validation, curve.train)]
    lines = [line[np.isfinite(line)] for line in lines if line is not None]
    low = min(float(np.quantile(line, 0.2 if len(line) >= 20 else 0)) for line in lines)
    high = max(float(line.max()) for line in lines)
    margin = 0.08 * (high - low) or 1.0
    return low - margin, high + margin
