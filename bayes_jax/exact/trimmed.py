"""One Gaussian of the rows that it finds least odd: a density for data that hold anomalies.

Maximum likelihood spends its covariance on whatever lies far out, and a mixture its components on
whatever lies together there. Trimming leaves a share of the rows out: concentration steps refit to
the rows of highest density, and the log likelihood of what is kept never falls (Rousseeuw, van
Driessen 1999, "A fast algorithm for the minimum covariance determinant estimator", Technometrics
41, https://doi.org/10.1080/00401706.1999.10485670). They start from all rows; that paper from many
small subsets, to get further from a bad start than to the nearest fixed point.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Num

from bayes_jax.errors import InputError
from bayes_jax.exact.mixture import FullGaussianMixture, generative
from bayes_jax.exact.mixture_em import check_support
from bayes_jax.model import GenerativeModel

_exact_products = jax.default_matmul_precision("highest")


def fit(x: Num[Array | np.ndarray, "num dim"], **options) -> GenerativeModel:
    """A trimmed Gaussian, ready for use: `mixture.generative(fit_params(x, ...))`.

    Args:
        x: observations.
        **options: of `fit_params`.
    """
    return generative(fit_params(x, **options))


def fit_params(
    x: Num[Array | np.ndarray, "num dim"],
    *,
    trimmed: float = 0.25,
    min_variance: float = 1e-3,
    num_steps: int = 20,
) -> FullGaussianMixture:
    """Concentration steps from the Gaussian of all rows.

    The covariance is that of the rows that are kept: smaller than that of all that are normal, but
    of the same shape.

    Args:
        x: observations.
        trimmed: share of the rows that is left out; more anomalies than that are not withstood.
        min_variance: floor of every eigenvalue of the covariance.
        num_steps: refits; most data need fewer to stand still.

    Returns:
        A mixture of one component.

    Raises:
        InputError: for data or options that cannot be used.
    """
    x = jnp.asarray(x, jnp.result_type(float))
    check_support(FullGaussianMixture.support, x)
    if not 0 <= trimmed < 1:
        raise InputError(f"trimmed is {trimmed}: expected a share, from 0 to below 1")
    if not min_variance > 0:
        raise InputError(f"min_variance is {min_variance}: expected a positive number")
    num_kept = round((1 - trimmed) * len(x))
    if num_kept < 2:
        raise InputError(f"trimmed is {trimmed}: of {len(x)} rows it leaves {num_kept}, not 2")
    return _fit(x, min_variance, num_kept, num_steps)


@partial(jax.jit, static_argnums=(2, 3))
@_exact_products
def _fit(x, min_variance, num_kept, num_steps) -> FullGaussianMixture:
    def concentrate(params, _):
        _, kept = jax.lax.top_k(params.log_probs(x)[:, 0], num_kept)
        return _gaussian_of(x[kept], min_variance), None

    return jax.lax.scan(concentrate, _gaussian_of(x, min_variance), length=num_steps)[0]


def _gaussian_of(x, min_variance) -> FullGaussianMixture:
    return FullGaussianMixture.maximise(jnp.ones((len(x), 1), x.dtype), x, min_variance)
