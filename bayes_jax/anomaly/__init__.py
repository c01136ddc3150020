"""How odd is x to a fitted model? Scores that rise with the oddity, and what rank makes of them.

`scores` has one definition each, mostly in nats; `conformal` turns any score into p values by rows
that are known to be normal, whatever the model is worth.
"""

from bayes_jax.anomaly.conformal import conformal_p_values
from bayes_jax.anomaly.scores import (
    likelihood_regret,
    member_disagreement,
    negative_annealed_evidence,
    negative_elbo,
    negative_importance_bound,
    negative_log_evidence,
    reconstruction,
    typicality,
)

__all__ = [
    "conformal_p_values",
    "likelihood_regret",
    "member_disagreement",
    "negative_annealed_evidence",
    "negative_elbo",
    "negative_importance_bound",
    "negative_log_evidence",
    "reconstruction",
    "typicality",
]
