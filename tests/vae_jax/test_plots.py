"""Figures show the numbers they were given, and regions hold the mass they claim."""

import io
import subprocess
import sys

import matplotlib
import numpy as np
import pytest
from matplotlib.text import Text
from PIL import Image

from bayes_jax.calibration import calibration
from vae_jax import plots
from vae_jax.plots import images as image_plots
from vae_jax.plots import posteriors

RNG = np.random.default_rng(0)
COVARIANCE = np.array([[0.5, 0.3], [0.3, 0.4]])
LOC = np.array([0.4, -1.0])


def rendered(figure):
    """Draw it, so that what warns or fails while drawing does so here."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=40)
    assert buffer.getvalue().startswith(b"\x89PNG")
    return figure


def texts(figure):
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def lattice(num=81, half_width=4.0):
    """A Gaussian on a shuffled lattice, as a quadrature posterior gives it."""
    axis = np.linspace(-half_width, half_width, num)
    points = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2) + LOC
    scaled = np.linalg.solve(np.linalg.cholesky(COVARIANCE), (points - LOC).T)
    weights = np.exp(-0.5 * np.sum(scaled**2, axis=0))
    order = RNG.permutation(len(points))
    return points[order], (weights / weights.sum())[order]


def test_nothing_needs_a_window():
    code = "import sys; from vae_jax import plots; print('matplotlib.pyplot' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_mosaic_keeps_reading_order():
    images = np.arange(5, dtype=float)[:, None, None] / 10 * np.ones((5, 4, 3))
    mosaic = image_plots._mosaic(images, 2)
    assert mosaic.shape == (3 * 5 - 1, 2 * 4 - 1)
    np.testing.assert_array_equal(mosaic[0], [0, 0, 0, np.nan, 0.1, 0.1, 0.1])
    np.testing.assert_array_equal(mosaic[-1], [0.4, 0.4, 0.4, np.nan, np.nan, np.nan, np.nan])
    assert np.isnan(mosaic[4]).all()


def test_completions_veil_what_is_hidden():
    images = RNG.random((3, 2, 4, 4))
    hidden = np.zeros(images.shape, bool)
    hidden[:, 1, 2:] = True
    figure = rendered(
        plots.completions(images, hidden, headers=["original", "seen"], title="Hidden")
    )
    assert {"original", "seen", "Hidden"} <= {*texts(figure)}
    pixels, veil = (np.asarray(image.get_array().filled(-1)) for image in figure.axes[0].images)
    np.testing.assert_array_equal(pixels[:4, 5:9], images[0, 1])
    assert (veil == 1).sum() == hidden.sum()
    assert (veil[2:4, 5:9] == 1).all()


def test_a_table_of_images_names_rows_and_columns():
    images = RNG.random((2, 3, 4, 4))
    options = {"row_names": ["above", "below"], "headers": ["a", "b", "c"], "title": "Table"}
    figure = rendered(plots.image_table(images, **options))
    heights = {
        text.get_text(): text.get_position()[1]
        for text in figure.findobj(Text)
        if text.get_text() in ("above", "below")
    }
    assert heights == {"above": 0.75, "below": 0.25}
    assert {"a", "b", "c"} <= {*texts(figure)}
    (mosaic,) = (shown.get_array() for shown in figure.axes[0].images)
    np.testing.assert_array_equal(mosaic[-4:, -4:], images[1, 2])


def test_a_film_has_its_frames_and_begins_anew():
    images = np.linspace(0, 1, 7)[:, None, None] * RNG.random((7, 20, 30))
    film = Image.open(io.BytesIO(plots.gif(images, seconds_per_frame=0.05)))
    assert (film.n_frames, film.info["loop"], film.info["duration"]) == (7, 0, 50)
    assert film.size == (30 * 12, 20 * 12)
    for index, image in enumerate(images):
        film.seek(index)
        shown = np.asarray(film.convert("L"))[6::12, 6::12]
        np.testing.assert_allclose(shown, 255 * image, atol=0.51)


def test_an_image_grid_shows_all_images():
    images = RNG.random((23, 8, 6))
    figure = rendered(plots.image_grid(images, title="Samples", num_columns=5))
    shown = figure.axes[0].images[0].get_array()
    assert np.isclose(shown.compressed().sum(), images.sum())
    assert "Samples" in texts(figure)


def test_reconstructions_stand_below_their_originals():
    samples, originals, reconstructions = RNG.random((3, 4, 8, 8))
    models = [
        plots.ModelImages("vae", np.tile(samples, (3, 1, 1)), originals, reconstructions),
        plots.ModelImages("mixture", samples, originals, None),
    ]
    figure = rendered(plots.samples_and_reconstructions(models))
    pairs = figure.axes[1].images[0].get_array()
    np.testing.assert_array_equal(pairs[:8, 9:17], originals[1])
    np.testing.assert_array_equal(pairs[9:, 9:17], reconstructions[1])
    assert "vae: samples" in texts(figure)
    assert any("no reconstructions" in text for text in texts(figure))
    assert not figure.axes[3].images


def test_gap_bars_stack_to_their_sum():
    approximation, amortization = np.array([0.5, 0.25]), np.array([1.0, 2.0])
    figure = plots.gap_bars(["a", "b"], approximation, amortization, stderr=np.array([0.1, np.nan]))
    first, second = rendered(figure).axes[0].containers[:2]
    assert [bar.get_width() for bar in first] == [0.5, 0.25]
    assert [bar.get_x() for bar in second] == [0.5, 0.25]
    assert [bar.get_width() for bar in second] == [1.0, 2.0]
    assert "0.25 + 2.00 = 2.25" in texts(figure)
    assert any("nats per image" in text for text in texts(figure))


def test_gap_bars_reach_further_to_where_log_p_may_lie():
    gap, stderr = np.array([0.5, 0.5]), np.array([0.125, 0.125])
    width = np.array([0.25, np.nan])
    figure = plots.gap_bars(["a", "b"], gap, gap, stderr=stderr, evidence_width=width)
    *_, errors = rendered(figure).axes[0].containers
    ends = [segment[:, 0].tolist() for segment in errors.lines[2][0].get_segments()]
    assert ends == [[0.875, 1.375], [0.875, 1.125]]


@pytest.mark.parametrize("value", [0.0, -0.1])
def test_gap_bars_of_next_to_nothing_can_be_drawn(value):
    rendered(plots.gap_bars(["a"], np.array([value]), np.array([0.0])))


@pytest.mark.parametrize("share", [0.5, 0.95])
def test_regions_of_a_gaussian_end_at_their_share(share):
    """The density on the border of the region with mass s is (1 - s) of the peak's."""
    axis = np.linspace(-7, 7, 401)
    density = np.exp(-0.5 * (axis[:, None] ** 2 + axis**2))
    (level,) = posteriors.region_levels(density, [share])
    assert level == pytest.approx(1 - share, rel=0.01)


@pytest.mark.parametrize("share", [0.5, 0.95])
def test_ellipses_hold_their_share(share):
    border = posteriors._ellipse(LOC, COVARIANCE, share)
    inverse = np.linalg.inv(COVARIANCE)
    radii = np.einsum("pi,ij,pj->p", border - LOC, inverse, border - LOC)
    np.testing.assert_allclose(radii, radii[0])
    draws = RNG.multivariate_normal(LOC, COVARIANCE, size=20_000) - LOC
    inside = np.einsum("pi,ij,pj->p", draws, inverse, draws) <= radii[0]
    assert abs(inside.mean() - share) < 4 * np.sqrt(share * (1 - share) / len(draws))


def test_a_raster_is_the_density_of_its_lattice():
    """Mean and covariance survive, the latter up to the blur of one lattice cell."""
    points, weights = lattice()
    case = plots.PosteriorCase(np.zeros((8, 8)), points, weights, {})
    first, second = np.linspace(-3.6, 4.4, 160), np.linspace(-5, 3, 160)
    density = posteriors._rasterize(case, first, second)
    density /= density.sum()
    mean = np.array([density.sum(axis=0) @ first, density.sum(axis=1) @ second])
    np.testing.assert_allclose(mean, LOC, atol=1e-3)
    centred = first - mean[0], second - mean[1]
    cross = centred[1] @ density @ centred[0]
    assert cross == pytest.approx(0.3, abs=1e-3)
    assert density.sum(axis=0) @ centred[0] ** 2 == pytest.approx(0.5 + 0.1**2, abs=1e-3)


def test_outlines_of_the_exact_gaussian_lie_on_its_regions():
    points, weights = lattice()
    image = RNG.random((8, 8))
    case = plots.PosteriorCase(image, points, weights, {"exact Gaussian": (LOC, COVARIANCE)})
    figure = rendered(plots.posterior_contours([case] * 5))
    panel = figure.axes[0]
    density = posteriors._rasterize(
        case, *(np.linspace(*posteriors._extent(case), 160)[:, i] for i in (0, 1))
    )
    levels = posteriors.region_levels(density / density.max(), [0.5, 0.95])
    np.testing.assert_allclose(levels, [0.5, 0.05], rtol=0.05)
    assert len(panel.lines) == 2
    for line in panel.lines:
        low, high = np.array([panel.get_xlim(), panel.get_ylim()]).T
        assert np.all(line.get_xydata() > low)
        assert np.all(line.get_xydata() < high)
    assert "exact Gaussian" in texts(figure)


def test_training_curves_mark_the_best_epoch():
    epoch = np.arange(1, 101)
    validation = -17 - 100 * np.exp(-epoch / 3) - 1e-4 * (epoch - 60) ** 2
    curves = [
        plots.Curve("vae", epoch, validation + 1, validation),
        plots.Curve("iwae", epoch[:50], None, validation[:50]),
    ]
    axes = rendered(plots.training_curves(curves)).axes[0]
    marks = [line.get_xydata().tolist() for line in axes.lines if line.get_marker() == "o"]
    assert marks[:2] == [[[60, validation[59]]], [[50, validation[49]]]]
    low, high = axes.get_ylim()
    assert low > validation[0]
    assert high > validation.max() + 1


def test_curves_of_a_short_run_are_whole():
    validation = np.array([-60.0, -30.0, -20.0])
    curve = plots.Curve("vae", np.arange(1, 4), None, validation)
    low, high = rendered(plots.training_curves([curve])).axes[0].get_ylim()
    assert low < -60
    assert high > -20


def test_a_ladder_shows_every_value_and_its_error():
    values, stderrs = np.array([-18.0, -17.0, np.nan]), np.array([0.5, 0.0, np.nan])
    names, kinds = ["elbo", "quadrature", "failed"], ["lower", "exact", "estimate"]
    figure = rendered(plots.evidence_ladder(names, values, stderrs, kinds))
    axes = figure.axes[0]
    points = [container.lines[0].get_xydata()[0] for container in axes.containers]
    np.testing.assert_array_equal(points, [[-18, 0], [-17, 1], [np.nan, 2]])
    (bar,) = axes.containers[0].lines[2][0].get_segments()
    np.testing.assert_array_equal(bar[:, 0], [-18.5, -17.5])
    assert {"elbo", "quadrature", "exact"} <= set(texts(figure))


def test_drawing_leaves_no_style_behind():
    with matplotlib.rc_context({"axes.spines.top": True}):
        figure = plots.gap_bars(["a"], np.ones(1), np.ones(1))
        assert matplotlib.rcParams["axes.spines.top"]
    assert not figure.axes[0].spines["top"].get_visible()


def test_gap_profile_stacks_the_gaps_from_the_smallest_to_the_largest():
    approximation, amortization = np.array([0.5, 0.2, 0.4]), np.array([1.0, 0.1, 0.2])
    figure = plots.gap_profile(np.zeros((3, 4, 4)), approximation, amortization)
    bars, strip = figure.axes
    lower, upper = bars.containers
    np.testing.assert_allclose([bar.get_height() for bar in lower], [0.2, 0.4, 0.5])
    np.testing.assert_allclose([bar.get_y() for bar in upper], [0.2, 0.4, 0.5])
    np.testing.assert_allclose([bar.get_height() for bar in upper], [0.1, 0.2, 1.0])
    assert len(strip.images) == 3


def test_gap_profile_has_the_error_bar_of_each_image():
    gap, stderr = np.array([0.5, 0.25]), np.array([0.0625, 0.125])
    figure = plots.gap_profile(np.zeros((2, 4, 4)), gap, gap, stderr=stderr, evidence_width=0.25)
    *_, errors = figure.axes[0].containers
    ends = [segment[:, 1].tolist() for segment in errors.lines[2][0].get_segments()]
    assert ends == [[0.375, 0.875], [0.9375, 1.3125]]


def test_rate_panels_have_an_axis_each_from_zero():
    values = np.array([[500.0, 300.0], [27.0, 26.5]])
    figure = rendered(
        plots.rate_panels(
            ["a", "b"], values, 0.9 * values, panels=["32", "1024"], title="Speed", unit="steps / s"
        )
    )
    for axes, row, title in zip(figure.axes, values, ("32", "1024"), strict=True):
        assert [bar.get_width() for bar in axes.patches] == list(row)
        np.testing.assert_allclose(axes.lines[0].get_xdata(), 0.9 * row)
        assert axes.get_xlim()[0] == 0
        assert axes.get_title() == title
    assert [text.get_text() for text in figure.axes[1].texts] == ["27.0", "26.5"]


def test_signal_to_noise_has_a_line_for_each_estimator():
    parts = {part: {"iwae": [(1, 2.0), (8, 0.5)], "stl": [(1, 2.0), (8, 6.0)]} for part in "ed"}
    figure = rendered(plots.signal_to_noise(parts, title="Noise"))
    assert len(figure.axes) == 2
    iwae, stl = figure.axes[1].lines
    assert list(iwae.get_ydata()) == [2.0, 0.5]
    assert list(stl.get_xdata()) == [1, 8]


def test_rates_are_bars_with_a_mark_for_compiling():
    values, slower = np.array([10.0, 2000.0]), np.array([5.0, 100.0])
    figure = rendered(plots.rates(["a", "b"], values, slower, title="Speed", unit="draws / s"))
    (axes,) = figure.axes
    assert [bar.get_width() for bar in axes.patches] == [10, 2000]
    assert axes.lines[0].get_xdata().tolist() == [5, 100]
    assert {text.get_text() for text in axes.texts} == {"10", "2,000"}


def test_calibration_shows_a_curve_a_quantity_inside_its_band():
    ranks = np.stack([np.arange(100), np.zeros(100, int)], axis=1)
    found = calibration(ranks, 99)
    figure = rendered(plots.calibration({"even": found, "again": found}))
    assert len(figure.axes) == 2
    even, stuck = figure.axes[0].lines
    assert np.abs(even.get_ydata()).max() < 1e-9
    # All ranks are zero: the distribution function is one everywhere.
    np.testing.assert_allclose(stuck.get_ydata(), 1 - stuck.get_xdata())
    assert figure.axes[0].get_title(loc="left").startswith("even: p = ")


def test_bound_costs_stand_where_they_are_and_the_best_on_the_edge():
    gaps, costs = np.array([2.0, 0.5, 0.0]), np.array([1.0, 50.0, 5000.0])
    figure = rendered(
        plots.bound_costs(["ELBO", "K = 50", "AIS"], gaps, np.array([np.nan, 0.1, 0.1]), costs)
    )
    axes = figure.axes[0]
    shown = [container.lines[0].get_xydata()[0] for container in axes.containers]
    np.testing.assert_allclose(shown, [[1, 2.0], [50, 0.5], [5000, 0.25]])
    assert "AIS (the best)" in texts(figure)
    assert axes.get_xscale() == axes.get_yscale() == "log"


def test_widths_cost_in_words_of_their_own():
    figure = rendered(
        plots.bound_costs(
            ["T = 25", "T = 100"],
            np.array([0.1, -0.01]),
            np.array([0.02, 0.02]),
            np.array([2500.0, 5000.0]),
            ylabel="width in nats",
            at_the_edge="not above 0",
        )
    )
    assert figure.axes[0].get_ylabel() == "width in nats"
    assert "T = 100 (not above 0)" in texts(figure)
    assert "the best" not in " ".join(texts(figure))
