"""What a person sees of a run's own images beside others."""

import numpy as np
from jaxtyping import Bool

from vae_jax.detection import trial
from vae_jax.detection.detection_report import COLUMNS
from vae_jax.detection.image_scores import RECOMMENDED
from vae_jax.detection.trial import Scored
from vae_jax.tables import Column, Table
from vae_jax.trained import TrainedRun

PROTOCOL = "another kind"

_OWN_COLUMNS = [
    Column("mean_own", "own", ".1f", meaning="mean score of the run's own test images, nats"),
    Column("mean_other", "other", ".1f", meaning="of the others"),
    Column("recommended", "recommended", meaning="chosen on MNIST under a model of KMNIST"),
]


def table(scored: dict[str, Scored], is_odd: Bool[np.ndarray, " image"]) -> Table:
    """The measures of every score, the best first.

    Args:
        scored: score -> what it made of all images.
        is_odd: which of them are of the other kind.
    """
    rows = [_row(name, one, is_odd) for name, one in scored.items()]
    best_first = sorted(rows, key=lambda row: -row["roc_auc"])
    return Table("Other images found", best_first, [COLUMNS[0], *_OWN_COLUMNS, *COLUMNS[2:]])


def surprise(evidence: Scored, is_odd: Bool[np.ndarray, " image"]) -> str:
    """A line for the case that -log p(x) points the wrong way; "" where it does not.

    Args:
        evidence: -log p(x) of all images.
        is_odd: which of them are of the other kind.
    """
    own, other = _means(evidence, is_odd)
    if other >= own:
        return ""
    return (
        f"the other images are MORE probable ({-other:.1f} nats in the mean, the run's own "
        f"{-own:.1f}): -log p(x) misleads here, see the other scores"
    )


def introduction(run: TrainedRun, against: str | None, is_odd: Bool[np.ndarray, " image"]) -> str:
    """What stands against what.

    Args:
        run: the detector.
        against: the other data; None for a class that was held out.
        is_odd: which images are of the other kind.
    """
    data = run.config.data
    other = against or f"class {data.held_out_label} of {data.name}, which was held out"
    return (
        f"{run.config.system}, trained on {data.name}: {np.sum(~is_odd)} of its test images and "
        f"{np.sum(is_odd)} of {other}. p values are calibrated by its validation images. A simple "
        "image can be more probable than what a model was trained on, so that -log p(x) alone "
        "(`evidence`) may point the wrong way; the recommended score takes away the nats that a "
        "general compressor needs for the image.\n\n"
        "scores.csv has the images in this order, the run's own first, by the recommended score."
    )


def _row(name: str, one: Scored, is_odd) -> dict:
    own, other = _means(one, is_odd)
    options = {"protocol": PROTOCOL, "recommended": RECOMMENDED}
    return trial.judge(name, [one], is_odd, **options) | {"mean_own": own, "mean_other": other}


def _means(one: Scored, is_odd) -> tuple[float, float]:
    return float(np.mean(one.score[~is_odd])), float(np.mean(one.score[is_odd]))
