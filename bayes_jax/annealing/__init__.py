"""Annealed importance sampling: log p(x) from below, and on simulated data from both sides.

Chains start at exact draws of a start distribution q0 and follow

    log f_beta(z) = (1 - beta) log q0(z) + beta log p(x, z),      0 = beta_0 < ... < beta_T = 1,

by one move at each temperature in between. Their weights are unbiased estimates of p(x), so that
their log mean bounds log p(x) from below in expectation (Neal 2001, arXiv physics/9803008). This
holds because each move is fixed before the chain runs: its step size is a table over beta, found by
SEPARATE chains, and never looks at the chain's own past.

In the order of the imports: `schedules`, `path`, `moves`, `settings`, `pilot` (finds a path),
`chains` (walks it, step by step), `engines` (whole walks in one compile), `generative` (a model
whose evidence they are), `validation`.
"""

from bayes_jax.annealing.chains import Chains, advance, init, log_weight, weighted_draws
from bayes_jax.annealing.engines import (
    annealed_draws,
    annealed_evidence,
    evidence_sandwich,
    reverse_evidence,
    sandwiched,
)
from bayes_jax.annealing.generative import annealed_model
from bayes_jax.annealing.path import GaussianStart, Path
from bayes_jax.annealing.pilot import joint_basis, make_path
from bayes_jax.annealing.schedules import linear_schedule, power_schedule, sigmoid_schedule
from bayes_jax.annealing.settings import Settings, make_settings
from bayes_jax.annealing.validation import Validation, validate_annealing

__all__ = [
    "Chains",
    "GaussianStart",
    "Path",
    "Settings",
    "Validation",
    "advance",
    "annealed_draws",
    "annealed_evidence",
    "annealed_model",
    "evidence_sandwich",
    "init",
    "joint_basis",
    "linear_schedule",
    "log_weight",
    "make_path",
    "make_settings",
    "power_schedule",
    "reverse_evidence",
    "sandwiched",
    "sigmoid_schedule",
    "validate_annealing",
    "weighted_draws",
]
