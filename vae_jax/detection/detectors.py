"""What finds anomalies: `(seed, rows to fit on) -> (rows -> scores)`, and which is recommended.

The recommendation stands here and reads no label: log p(x) of a density that held-out rows choose
where the rows to fit on are normal, and of one too simple to learn the anomalies where they are not
known to be. Its trimmed quarter is that of Rousseeuw and van Driessen; labels of a few tables of
ADBench had been seen when it was taken.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from bayes_jax import anomaly
from bayes_jax.exact import linear_gaussian, mixture, mixture_choice, trimmed
from vae_jax.detection import baselines, vae
from vae_jax.detection.baselines import EXPLAINED, Rows, Score
from vae_jax.detection.latent_scores import LATENT_SCORES

Detector = Callable[[int, Rows], Score]

_KEY = jax.random.key(0)  # of evidence that is exact, where nothing is random


def gaussian_mixture(seed: int, x: Rows) -> Score:
    """-log p(x) in nats by a Gaussian mixture, its size and its floor chosen by held-out log p.

    Args:
        seed: of the rows held out, and of the starts.
        x: rows to fit on.
    """
    params = mixture_choice.fit_chosen(jax.random.key(seed), x)
    return partial(_surprise, mixture.generative(params))


def trimmed_gaussian(seed: int, x: Rows) -> Score:
    """-log p(x) in nats by one Gaussian, fitted without the quarter of the rows that fits it worst.

    Args:
        seed: unused.
        x: rows to fit on.
    """
    del seed
    return partial(_surprise, trimmed.fit(x))


def ppca(seed: int, x: Rows) -> Score:
    """-log p(x) in nats by PPCA of 90 % of the variance.

    Args:
        seed: unused.
        x: rows to fit on.
    """
    del seed
    return partial(_surprise, _fitted_ppca(x))


def ppca_reconstruction(seed: int, x: Rows) -> Score:
    """-E log p(x | z) in nats over the exact posterior of the same PPCA.

    Args:
        seed: of the draws of z.
        x: rows to fit on.
    """
    model = _fitted_ppca(x)

    def score(x):
        key, x = jax.random.key(seed), jnp.asarray(x, float)
        return _plain(anomaly.reconstruction(key, model.latent, x, guide=model.posterior))

    return score


def ppca_typicality(seed: int, x: Rows) -> Score:
    """Distance in nats of log p(x) to its mean on rows held out from the same PPCA.

    Args:
        seed: of the fifth that is held out.
        x: rows to fit on.
    """
    rest = np.random.default_rng(seed).permutation(len(x)) >= len(x) // 5
    surprise = partial(_surprise, _fitted_ppca(x[rest]))
    normal = -surprise(x[~rest])
    return lambda x: _plain(anomaly.typicality(-surprise(x), normal))


QUICK: dict[str, Detector] = {
    "gaussian_mixture": gaussian_mixture,
    "trimmed_gaussian": trimmed_gaussian,
    "ppca": ppca,
    "ppca_reconstruction": ppca_reconstruction,
    "ppca_typicality": ppca_typicality,
    "isolation_forest": baselines.isolation_forest,
    "local_outlier_factor": baselines.local_outlier_factor,
    "one_class_svm": baselines.one_class_svm,
    "pca_reconstruction": baselines.pca_reconstruction,
}
"""Exact densities, then scikit-learn."""

DETECTORS: dict[str, Detector] = QUICK | {
    f"vae_{name}": partial(vae.detector, definition) for name, definition in LATENT_SCORES.items()
}
"""And those of a VAE, which take minutes a seed."""

RECOMMENDED = {"normal": "gaussian_mixture", "contaminated": "trimmed_gaussian"}
"""Protocol -> a key of `DETECTORS`."""


def _fitted_ppca(x):
    variance = np.sort(np.linalg.eigvalsh(np.cov(x, rowvar=False)))[::-1]
    explained = np.cumsum(variance) / np.sum(variance)
    latent_dim = int(np.clip(1 + np.sum(explained < EXPLAINED), 1, x.shape[1] - 1))
    return linear_gaussian.fit(x, latent_dim=latent_dim, min_variance=1e-3)


def _surprise(model, x) -> np.ndarray:
    return _plain(anomaly.negative_log_evidence(_KEY, model, jnp.asarray(x, float)))


def _plain(scores) -> np.ndarray:
    return np.asarray(scores, np.float64)
