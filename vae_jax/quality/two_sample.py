"""Classifier two-sample test: can a network tell generated images from real ones?"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray
from scipy.stats import binom

from bayes_jax.errors import InputError
from vae_jax.quality.classifier import fit_classifier

CHANCE = 0.5
"""The accuracy on samples of one distribution."""


class TwoSampleTest(NamedTuple):
    """How well a classifier tells two samples apart.

    Attributes:
        accuracy: on images that it has not seen, as many of either kind; CHANCE if they are alike.
        p_value: probability of so many hits by chance, under Binomial(num, CHANCE).
    """

    accuracy: float
    p_value: float


def two_sample_test(
    key: PRNGKeyArray,
    x: Float[Array, "num dim"],
    y: Float[Array, "other dim"],
    *,
    num_steps: int = 400,
) -> TwoSampleTest:
    """Train on half of either sample, count the hits on the other half.

    Lopez-Paz, Oquab 2017, "Revisiting classifier two-sample tests", arXiv 1610.06545. Of the larger
    sample as many are taken as the smaller has.

    Args:
        key: of the halves and of the training.
        x: a sample.
        y: another.
        num_steps: of training.

    Raises:
        InputError: fewer than two of either.
    """
    num = min(len(x), len(y)) // 2
    if num < 1:
        raise InputError(f"samples of {len(x)} and {len(y)}: expected at least 2 of either")
    key_x, key_y, key_fit = jax.random.split(key, 3)
    x, y = jax.random.permutation(key_x, x), jax.random.permutation(key_y, y)
    labels = jnp.repeat(jnp.arange(2), num)
    seen, held_out = (
        jnp.concatenate([x[rows], y[rows]]) for rows in (slice(num), slice(num, 2 * num))
    )
    classifier = fit_classifier(key_fit, seen, labels, num_classes=2, num_steps=num_steps)
    num_hits = int(jnp.sum(classifier.classify(held_out) == labels))
    return TwoSampleTest(num_hits / (2 * num), float(binom.sf(num_hits - 1, 2 * num, CHANCE)))
