"""Evidence against seconds: every model has its place, and its name a place of its own."""

import numpy as np
import pytest

from vae_jax import plots
from vae_jax.plots.costs import _apart


@pytest.mark.parametrize(
    "heights", [[0.5] * 8, [0.0, 0.01, 0.9, 0.95, 1.0], [0.2, 0.6, 0.61], [1.0]]
)
def test_names_stand_apart_in_their_order_and_inside(heights):
    found = _apart(np.array(heights), 0.08)
    assert np.all(np.diff(found) > 0.08 - 1e-9)
    assert found.max() <= 1
    assert found.min() >= 0 or min(heights) == 0


def test_names_that_have_room_stay_where_they_are():
    np.testing.assert_allclose(_apart(np.array([0.1, 0.4, 0.8]), 0.08), [0.1, 0.4, 0.8])


def test_models_stand_at_their_seconds_and_nats():
    values, seconds = np.array([-20.0, -16.0, -17.0]), np.array([1.0, 100.0, 10.0])
    names = ["mixture", "VAE", "GAN"]
    kinds = ["exact", "lower", "lower"]
    figure = plots.evidence_over_seconds(names, values, np.full(3, 0.3), seconds, kinds)
    (axes,) = figure.axes
    points = {
        (float(line.get_xdata()[0]), float(line.get_ydata()[0]))
        for line in axes.lines
        if len(line.get_xdata()) == 1
    }
    assert {*zip(seconds.tolist(), values.tolist(), strict=True)} <= points
    assert [text.get_text() for text in axes.texts] == ["mixture", "GAN", "VAE"]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["exact", "lower bound"]
