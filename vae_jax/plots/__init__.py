"""Arrays in, Figure out (or the content of a film): no files, no window, no global state.

Pixels lie in [0, 1] (1 is white), densities are in nats per image. Colours are those of Okabe and
Ito, which people who see few colours tell apart (https://jfly.uni-koeln.de/color).
"""

from vae_jax.plots.animation import gif
from vae_jax.plots.anomalies import anomaly_scores
from vae_jax.plots.benchmarks import differences, rate_panels, rates, signal_to_noise
from vae_jax.plots.calibration import calibration
from vae_jax.plots.costs import bound_costs, evidence_over_seconds
from vae_jax.plots.evidence import evidence_ladder, gap_bars, gap_profile
from vae_jax.plots.images import (
    ModelImages,
    completions,
    image_grid,
    image_table,
    samples_and_reconstructions,
)
from vae_jax.plots.posteriors import PosteriorCase, posterior_contours
from vae_jax.plots.style import PALETTE
from vae_jax.plots.training import Curve, training_curves

__all__ = [
    "PALETTE",
    "Curve",
    "ModelImages",
    "PosteriorCase",
    "anomaly_scores",
    "bound_costs",
    "calibration",
    "completions",
    "differences",
    "evidence_ladder",
    "evidence_over_seconds",
    "gap_bars",
    "gap_profile",
    "gif",
    "image_grid",
    "image_table",
    "posterior_contours",
    "rate_panels",
    "rates",
    "samples_and_reconstructions",
    "signal_to_noise",
    "training_curves",
]
