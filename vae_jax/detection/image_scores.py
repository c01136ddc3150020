"""How odd is an image to a trained run? The scores that its model's abilities allow.

-log p(x) is low for an image that is simple, though none like it was ever seen: to a model of
Japanese characters our digits are more probable than its own (Nalisnick, Matsukawa, Teh, Gorur,
Lakshminarayanan 2019, arXiv 1810.09136). `typicality` takes a log p that is too high as odd,
`regret` asks how badly the encoder does on x rather than how much there is to say of it, and
`complexity` takes away what there is to say.
"""

import zlib
from collections.abc import Callable
from functools import partial

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, PRNGKeyArray

from bayes_jax import GenerativeModel, anomaly
from bayes_jax.importance import importance_bound
from vae_jax.detection.latent_scores import LATENT_SCORES

Images = Float[np.ndarray, "image dim"]
Score = Callable[[PRNGKeyArray, Images], Float[np.ndarray, " image"]]

RECOMMENDED = "complexity"
"""A key of `possible_scores`, chosen where -log p misled: MNIST under a model of KMNIST.

Of 8 x 8 digits a compressor can make nothing, and -log p is the better score: see
benchmarks/anomalous_images.py.
"""

_BATCH = 256  # images in memory at once
_NUM_IMPORTANCE_SAMPLES = 500


def possible_scores(
    generative: GenerativeModel, typical: Images, *, key: PRNGKeyArray, num_levels: int = 2
) -> dict[str, Score]:
    """Name -> score, all rising with the oddity of an image.

    Args:
        generative: of a run.
        typical: images of the kind it was trained on, but not those.
        key: of the draws behind their log p.
        num_levels: grey levels that a compressor sees.

    Returns:
        -log p(x) (`evidence`: exact, else an importance-weighted bound, else annealed), what is
        made of it (`typicality`, `complexity`), and where there are a latent and a guide all of
        `LATENT_SCORES`, where there are members their disagreement.
    """
    evidence = partial(_evidence, generative)
    usual = -evidence(key, typical)

    def typicality(key, x):
        return np.asarray(anomaly.typicality(-evidence(key, x), usual))

    def complexity(key, x):
        return evidence(key, x) - code_lengths(x, num_levels=num_levels)

    scores = {"evidence": evidence, "typicality": typicality, "complexity": complexity}
    if generative.guide is None or generative.latent is None:
        return scores
    scores |= {name: _of_latent(generative, of) for name, of in LATENT_SCORES.items()}
    if hasattr(generative.latent.likelihood(_origin(generative)), "member_log_prob"):
        scores["disagreement"] = _of_latent(generative, anomaly.member_disagreement)
    return scores


def code_lengths(x: Images, *, num_levels: int) -> Float[np.ndarray, " image"]:
    """Nats that a general compressor (zlib) spends on each image: its complexity.

    Args:
        x: pixels 0/1, whole levels, or in (0, 1), which are cut into levels.
        num_levels: grey levels.

    References:
        Serra, Alvarez, Gomez, Slizovskaia, Nunez, Luque 2020, "Input complexity and
        out-of-distribution detection with likelihood-based generative models", arXiv 1909.11480.
    """
    levels = x if np.array_equal(x, np.round(x)) else np.floor(x * num_levels)
    bits = [8 * len(zlib.compress(row.astype(np.uint8).tobytes(), 9)) for row in levels]
    return np.log(2) * np.array(bits, np.float64)


def _evidence(generative: GenerativeModel, key, x) -> np.ndarray:
    """-log p(x) as well as it is known in short time."""
    x = jnp.asarray(x, jnp.float32)
    is_exact = generative.posterior is not None or generative.density is not None
    if is_exact or generative.guide is None:
        found = generative.log_evidence(key, x)
    else:
        found = importance_bound(
            key,
            generative.latent,
            x,
            guide=generative.guide,
            num_samples=_NUM_IMPORTANCE_SAMPLES,
            batch_size=_BATCH,
        )
    return -np.asarray(found.lower, np.float64)


def _of_latent(generative: GenerativeModel, definition) -> Score:
    def score(key, x):
        model, guide, x = generative.latent, generative.guide, jnp.asarray(x, jnp.float32)
        return np.asarray(definition(key, model, x, guide=guide, batch_size=_BATCH), np.float64)

    return score


def _origin(generative: GenerativeModel):
    return jnp.zeros(generative.latent.prior.event_shape)
