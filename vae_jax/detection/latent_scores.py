"""The scores of a model of latents with a guide, by name, at the cost that detection affords."""

from collections.abc import Callable
from functools import partial

from bayes_jax import anomaly

LATENT_SCORES: dict[str, Callable] = {
    "elbo": anomaly.negative_elbo,
    "importance_bound": anomaly.negative_importance_bound,
    "annealed_evidence": partial(
        anomaly.negative_annealed_evidence, num_chains=4, num_temperatures=20
    ),
    "reconstruction": anomaly.reconstruction,
    "regret": partial(anomaly.likelihood_regret, num_steps=100, num_samples=200),
}
"""name -> `(key, model, x, *, guide, batch_size) -> scores`, each in nats: -ELBO,
-log (1/K) sum_k p(x, z_k) / q(z_k | x) with K = 50, -log p(x) by a short annealing from the guide,
-E_q log p(x | z), and what 100 steps of a fit of q* to this x gain over the guide."""
