"""Models whose posterior and evidence are known: what every estimator is tested on.

Two have closed forms (one of them multimodal), the others are integrated by quadrature: nonlinear
Bernoulli, Gaussian and Poisson decoders in one and two dimensions, whose posteriors are curved,
skewed or bimodal and never symmetric. All densities are normalised.
"""

from collections.abc import Callable
from functools import partial

from bayes_jax.exact.reference.base import Reference
from bayes_jax.exact.reference.by_quadrature import (
    nonlinear_bernoulli,
    nonlinear_gaussian,
    nonlinear_poisson,
    poisson,
)
from bayes_jax.exact.reference.closed_form import linear_gaussian, mixture_prior
from bayes_jax.exact.reference.guides import shifted_guide

__all__ = [
    "REFERENCES",
    "Reference",
    "linear_gaussian",
    "mixture_prior",
    "nonlinear_bernoulli",
    "nonlinear_gaussian",
    "nonlinear_poisson",
    "poisson",
    "shifted_guide",
]

#: name -> maker, for tests and benchmarks that run over all of them.
REFERENCES: dict[str, Callable[[], Reference]] = {
    "linear_gaussian": linear_gaussian,
    "mixture_prior": mixture_prior,
    "poisson": poisson,
    "nonlinear_bernoulli": nonlinear_bernoulli,
    "nonlinear_gaussian": nonlinear_gaussian,
    "nonlinear_poisson": nonlinear_poisson,
    "nonlinear_bernoulli_1d": partial(nonlinear_bernoulli, 1),
    "nonlinear_gaussian_1d": partial(nonlinear_gaussian, 1),
    "nonlinear_poisson_1d": partial(nonlinear_poisson, 1),
}
