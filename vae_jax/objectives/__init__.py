"""Training objectives of ONE observation: pure, in positive nats, larger is better.

All take `(key, model, guide, x)` and give `Terms`; a batch's mean is the caller's, and only a loss
negates. In the order of the imports: `terms` (the parts), `bounds` (ELBO, IWAE), `gradients` (the
same bounds under other gradients: sticking-the-landing, DReG), `regularised` (beta, free bits,
capacity: no bounds), `units` (what each latent unit carries), `table` (what a config asks for).
"""

from vae_jax.objectives.bounds import elbo, elbo_terms, iwae, iwae_terms
from vae_jax.objectives.gradients import dreg_terms, stl_terms
from vae_jax.objectives.regularised import (
    beta_terms,
    capacity_terms,
    free_bits_terms,
    warmed_up,
)
from vae_jax.objectives.table import make_objective
from vae_jax.objectives.terms import Terms
from vae_jax.objectives.units import active_units, kl_per_unit

__all__ = [
    "Terms",
    "active_units",
    "beta_terms",
    "capacity_terms",
    "dreg_terms",
    "elbo",
    "elbo_terms",
    "free_bits_terms",
    "iwae",
    "iwae_terms",
    "kl_per_unit",
    "make_objective",
    "stl_terms",
    "warmed_up",
]
