"""A paired difference has an error that covers seeds and images both."""

import importlib
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_error_covers_what_seeds_and_images_do(monkeypatch):
    """Effects of 0.5 a seed, 2 an image, 0.1 of noise: the error is the spread of the means."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    variants = importlib.import_module("variants")
    generator = np.random.default_rng(0)
    means, errors = [], []
    for _ in range(400):
        seeds, images = 0.5 * generator.normal(size=(4, 1)), 2 * generator.normal(size=100)
        found = variants.paired(1.0 + seeds + images + 0.1 * generator.normal(size=(4, 100)))
        means.append(found["difference"])
        errors.append(found["stderr_difference"])
    expected = np.hypot(0.5 / 2, 2 / 10)
    assert np.std(means) == pytest.approx(expected, rel=0.12)
    assert np.sqrt(np.mean(np.square(errors))) == pytest.approx(expected, rel=0.1)
    assert np.mean(means) == pytest.approx(1.0, abs=4 * expected / 20)
