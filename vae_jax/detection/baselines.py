"""Detectors of scikit-learn as they come, with the signs turned: higher is more anomalous.

References:
    Liu, Ting, Zhou 2008, "Isolation forest", https://doi.org/10.1109/ICDM.2008.17; Breunig,
    Kriegel, Ng, Sander 2000, "LOF", https://doi.org/10.1145/342009.335388; Schölkopf, Platt,
    Shawe-Taylor, Smola, Williamson 2001, "Estimating the support of a high-dimensional
    distribution", https://doi.org/10.1162/089976601750264965.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

Rows = Float[np.ndarray, "num dim"]
Score = Callable[[Rows], Float[np.ndarray, " num"]]

EXPLAINED = 0.9
"""Of the variance, by the directions that PCA keeps."""


def isolation_forest(seed: int, x: Rows) -> Score:
    """How few random cuts set a row apart.

    Args:
        seed: of the forest.
        x: rows to fit on.
    """
    from sklearn.ensemble import IsolationForest

    fitted = IsolationForest(random_state=seed).fit(x)
    return lambda x: -fitted.score_samples(x)


def local_outlier_factor(seed: int, x: Rows) -> Score:
    """How much thinner it is around a row than around its 20 neighbours.

    Args:
        seed: unused.
        x: rows to fit on.
    """
    from sklearn.neighbors import LocalOutlierFactor

    del seed
    fitted = LocalOutlierFactor(n_neighbors=min(20, len(x) - 1), novelty=True).fit(x)
    return lambda x: -fitted.score_samples(x)


def one_class_svm(seed: int, x: Rows) -> Score:
    """How far a row lies outside of the region that holds half of the mass.

    Args:
        seed: unused.
        x: rows to fit on.
    """
    from sklearn.svm import OneClassSVM

    del seed
    fitted = OneClassSVM().fit(x)
    return lambda x: -fitted.score_samples(x)


def pca_reconstruction(seed: int, x: Rows) -> Score:
    """Squared distance to the plane that holds 90 % of the variance.

    Args:
        seed: unused.
        x: rows to fit on.
    """
    from sklearn.decomposition import PCA

    del seed
    fitted = PCA(EXPLAINED, svd_solver="full").fit(x)
    return lambda x: np.sum((x - fitted.inverse_transform(fitted.transform(x))) ** 2, axis=1)
