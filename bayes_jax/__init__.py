"""Probability and inference over NumPyro distributions: no networks, no files, no plots."""

from bayes_jax import (
    annealing,
    anomaly,
    arviz_export,
    calibration,
    exact,
    gaps,
    imputation,
    mcmc,
)
from bayes_jax.annealing import (
    annealed_draws,
    annealed_evidence,
    evidence_sandwich,
    reverse_evidence,
    validate_annealing,
)
from bayes_jax.diagnostics import diagnose, verdict
from bayes_jax.errors import InputError
from bayes_jax.estimates import Draws, Evidence, EvidenceKind, Gaps, WeightedDraws
from bayes_jax.families import Family
from bayes_jax.gaps import inference_gaps
from bayes_jax.importance import elbo, importance_bound, importance_draws, pareto_k_hat
from bayes_jax.imputation import impute
from bayes_jax.mcmc import sample_batch, sample_posterior
from bayes_jax.model import GenerativeModel, Guide, LatentModel, log_joint, simulate
from bayes_jax.numpyro_models import constrain_latents, from_numpyro, to_numpyro
from bayes_jax.smc import smc_evidence
from bayes_jax.variational import fit_posterior

__all__ = [
    "Draws",
    "Evidence",
    "EvidenceKind",
    "Family",
    "Gaps",
    "GenerativeModel",
    "Guide",
    "InputError",
    "LatentModel",
    "WeightedDraws",
    "annealed_draws",
    "annealed_evidence",
    "annealing",
    "anomaly",
    "arviz_export",
    "calibration",
    "constrain_latents",
    "diagnose",
    "elbo",
    "evidence_sandwich",
    "exact",
    "fit_posterior",
    "from_numpyro",
    "gaps",
    "importance_bound",
    "importance_draws",
    "imputation",
    "impute",
    "inference_gaps",
    "log_joint",
    "mcmc",
    "pareto_k_hat",
    "reverse_evidence",
    "sample_batch",
    "sample_posterior",
    "simulate",
    "smc_evidence",
    "to_numpyro",
    "validate_annealing",
    "verdict",
]
