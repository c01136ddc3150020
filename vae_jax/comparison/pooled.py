"""Numbers of a row: images and seeds pooled into means, differences and their standard errors."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from bayes_jax import Evidence
from bayes_jax.annealing import Validation

REFERENCE = "vae"
"""The entrant to which decoders are compared."""


def per_image(evidences: Sequence[Evidence]) -> Float[np.ndarray, " image"]:
    """The lower side of each image, the mean over seeds, in float64."""
    return np.mean([np.asarray(evidence.lower, np.float64) for evidence in evidences], axis=0)


def log_prob(values: Float[np.ndarray, " image"]) -> dict:
    """The mean over images, and its standard error."""
    return {"log_prob": float(values.mean()), "stderr": stderr_of(values)}


def stderr_of(values: Float[np.ndarray, " image"]) -> float:
    """Of a mean over images."""
    return float(np.std(values, ddof=1) / np.sqrt(len(values)))


def paired(values: np.ndarray, others: np.ndarray | None) -> dict:
    """The difference of two models image by image, and its standard error; None beside nothing."""
    if others is None:
        return {"difference": None, "difference_stderr": None}
    difference = values - others
    return {
        "difference": float(difference.mean()),
        "difference_stderr": 0.0 if values is others else stderr_of(difference),
    }


def reference(names: Sequence[str], values: Sequence[np.ndarray]) -> np.ndarray | None:
    """The values of the entrant that decoders are compared to, if it takes part."""
    return values[names.index(REFERENCE)] if REFERENCE in names else None


def width(validation: Validation | None) -> dict:
    """How far a sandwich is open, and the standard error of that."""
    if validation is None:
        return {"width": None, "width_stderr": None}
    return {"width": float(validation.width), "width_stderr": float(validation.width_stderr)}
