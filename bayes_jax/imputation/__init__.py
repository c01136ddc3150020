"""p(x_missing | x_observed): several completions of every x, and how good they are.

`impute` takes the exact way where the model has one, else MCMC on z given what was observed; both
draw from the model's own p(x_missing | x_observed). `impute_by_pseudo_gibbs` asks an encoder that
was trained on whole observations: cheap, and as wrong as the encoder is.
"""

from bayes_jax.imputation.engines import impute, impute_by_mcmc, impute_exactly
from bayes_jax.imputation.measures import Measures, covered, measure
from bayes_jax.imputation.pseudo_gibbs import impute_by_pseudo_gibbs
from bayes_jax.imputation.results import Imputations

__all__ = [
    "Imputations",
    "Measures",
    "covered",
    "impute",
    "impute_by_mcmc",
    "impute_by_pseudo_gibbs",
    "impute_exactly",
    "measure",
]
