"""Is a posterior calibrated? Distribution functions of ranks, held against a band."""

from matplotlib.figure import Figure

from bayes_jax.calibration import Calibration, ecdf, ecdf_band
from vae_jax.plots.style import EXACT_COLOUR, colours, set_title, styled

_MOST_NAMED = 6


@styled
def calibration(
    cases: dict[str, Calibration], *, title: str = "Calibration on simulated data"
) -> Figure:
    """Departure of the ranks' distribution function from uniform, one panel a sampler.

    A calibrated sampler stays inside the band for 95 of 100 curves. High on the left and low on the
    right is overconfident, all on one side is biased.

    Args:
        cases: name of each sampler -> its calibration; at least one.
        title: of the figure.
    """
    figure = Figure(figsize=(4.6 * len(cases), 3.9))
    panels = figure.subplots(1, len(cases), squeeze=False, sharey=True).ravel()
    for axes, (name, found) in zip(panels, cases.items(), strict=True):
        points, low, high = ecdf_band(len(found.ranks), found.num_draws)
        axes.fill_between(points, low - points, high - points, color=EXACT_COLOUR, alpha=0.35)
        names = found.names if len(found.names) <= _MOST_NAMED else None
        for index, colour in enumerate(colours(len(found.names))):
            is_likelihood = index == len(found.names) - 1
            label = names[index] if names else (found.names[-1] if is_likelihood else None)
            curve = ecdf(found.ranks[:, index], found.num_draws) - points
            style = {"color": "black", "linewidth": 2} if is_likelihood else {"color": colour}
            axes.plot(points, curve, **{"linewidth": 1.2, **style}, label=label)
        axes.set_title(f"{name}: p = {found.p_value:.2g}", loc="left")
        axes.set_xlabel("rank of the true value / number of draws")
        axes.grid()
    panels[0].set_ylabel("distribution function minus uniform")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower left", ncols=6)
    set_title(figure, title)
    return figure
