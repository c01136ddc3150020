"""How every figure looks: colours, fonts, titles."""

import functools
from collections.abc import Callable

import matplotlib
from matplotlib.figure import Figure

PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#000000", "#F0E442")
"""Blue, orange, green, pink, vermilion, sky, black, yellow (Okabe, Ito 2008)."""

EXACT_COLOUR = "#9aa0a6"
"""What the others are held against."""

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


def styled(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    """Draw in the project's style, whatever the user's is."""

    @functools.wraps(draw)
    def styled(*args, **options):
        with matplotlib.rc_context(_STYLE):
            return draw(*args, **options)

    return styled


def colours(num: int) -> list[str]:
    """So many colours, the palette over again where it runs out."""
    return [PALETTE[index % len(PALETTE)] for index in range(num)]


def set_title(figure: Figure, title: str) -> None:
    """The title, where reading starts."""
    figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
