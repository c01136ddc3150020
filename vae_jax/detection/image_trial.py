"""A trained run, its own test images, and images of another kind: can they be told apart?

The detector is a run that never saw the other kind. Half of its own validation images say what is
typical, the other half calibrate the p values, so that of its test images a share of a has p <= a.
"""

from collections.abc import Iterator

import jax
import numpy as np
from jaxtyping import Float, Num, PRNGKeyArray

from bayes_jax import GenerativeModel
from bayes_jax.anomaly import conformal_p_values
from bayes_jax.errors import InputError
from vae_jax.data.dataset import Dataset
from vae_jax.detection.image_scores import possible_scores
from vae_jax.detection.trial import Scored

Stored = Num[np.ndarray, "image dim"]

SLOW = ("annealed_evidence", "regret")
"""Scores that take seconds an image on a CPU."""


def other_images(dataset: Dataset, other: Dataset | None) -> Stored:
    """What the run never saw: another data set's test images, or the class that was held out.

    Args:
        dataset: of the run.
        other: another one; None takes the class held out.

    Raises:
        InputError: neither.
    """
    if other is not None:
        return other.test
    if dataset.held_out is None:
        raise InputError(
            "against is unset and no class was held out of the run: expected --against DATA, or a "
            "run of train.py --data.held-out-label"
        )
    return dataset.held_out


def run(
    key: PRNGKeyArray,
    generative: GenerativeModel,
    dataset: Dataset,
    odd: Stored,
    *,
    num_images: int,
    with_slow: bool = True,
) -> Iterator[tuple[str, Scored]]:
    """Score own and other images by all that the model allows.

    Args:
        key: of the images that are taken and the draws.
        generative: of the run.
        dataset: of the run.
        odd: images of the other kind.
        num_images: most test images, other images and validation images.
        with_slow: also by scores that take long.

    Yields:
        The name of a score and what it made of all images, the own ones first.
    """
    key_taken, key_typical, key_calibration, key_scores = jax.random.split(key, 4)
    own, held, odd = (
        taken(jax.random.fold_in(key_taken, index), images, num_images)
        for index, images in enumerate((dataset.test, dataset.validation, odd))
    )
    x, typical, normal = np.concatenate([own, odd]), held[::2], held[1::2]
    scores = possible_scores(generative, typical, key=key_typical, num_levels=dataset.num_levels)
    for name, score in scores.items():
        if with_slow or name not in SLOW:
            found = score(key_scores, x)
            p_values = conformal_p_values(found, score(key_calibration, normal))
            yield name, Scored(np.arange(len(x)), found, p_values)


def taken(key: PRNGKeyArray, images: Stored, num: int) -> Float[np.ndarray, "taken dim"]:
    """So many images, drawn without replacement; all where there are fewer."""
    chosen = np.sort(np.asarray(jax.random.permutation(key, len(images)))[:num])
    return images[chosen].astype(np.float32)
