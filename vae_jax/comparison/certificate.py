"""How far annealing leaves log p(x) open, as a table: both sides on images the decoder made."""

import numpy as np

from bayes_jax.estimates import mean_stderr
from vae_jax.comparison import columns
from vae_jax.comparison.inferences import Finished
from vae_jax.tables import Column, Table

COLUMNS = [
    columns.METHOD,
    Column("log_prob", "from below", ".3f", "stderr", "mean over the simulated images, in nats"),
    Column("upper", "from above", ".3f", "stderr_upper"),
    Column(
        "width",
        "width",
        ".4f",
        "width_stderr",
        "upper minus lower, ± standard error over images: what annealing leaves open on images "
        "like these; its expectation bounds the divergence of a resampled draw from the posterior",
    ),
    Column("certified", "certified", meaning=""),
    columns.NUM_IMAGES,
]
_NOTE = (
    "Only an image that the decoder made itself comes with an exact draw of its posterior, from "
    "which chains that walk back bound log p(x) from above. On test images there is the "
    "lower side alone; how far that is below the truth is measured here and not there."
)


def rows(model_name: str, finished: list[Finished]) -> list[dict]:
    """One row for each method that bounded log p(x) from both sides.

    Args:
        model_name: of the decoder.
        finished: its inferences.
    """
    return [
        _row(model_name, entry.method.name, entry.validation)
        for entry in finished
        if entry.validation is not None
    ]


def table(model_name: str, finished: list[Finished]) -> Table | None:
    """The same as a person reads it; None where no method has both sides."""
    found = rows(model_name, finished)
    if not found:
        return None
    certified = COLUMNS[4]._replace(
        meaning=f"holds the mean log p(x) of these images with probability of "
        f"{found[0]['confidence']:.0%} at least, by Markov's inequality alone"
    )
    shown = [*COLUMNS[:4], certified, *COLUMNS[5:]]
    return Table(f"Both sides, on simulated images: {model_name}", found, shown, _NOTE)


def _row(model_name, method, validation) -> dict:
    evidence = validation.evidence
    low, high = (float(side) for side in validation.certified)
    return {
        "table": "sandwich",
        "model": model_name,
        "method": method,
        "log_prob": float(np.mean(evidence.lower)),
        "stderr": float(mean_stderr(evidence.lower)),
        "kind": evidence.kind.name.lower(),
        "upper": float(np.mean(evidence.upper)),
        "stderr_upper": float(mean_stderr(evidence.upper)),
        "width": float(validation.width),
        "width_stderr": float(validation.width_stderr),
        "width_interval": [float(end) for end in validation.width_interval],
        "kl_bound": float(validation.kl_bound),
        "certified": f"{low:.3f} to {high:.3f}",
        "certified_interval": [low, high],
        "confidence": validation.confidence,
        "num_images": len(evidence.lower),
        "seconds": None,
    }
