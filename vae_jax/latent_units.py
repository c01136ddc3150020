"""What each latent unit of a trained model carries, and a warning where they collapsed."""

import jax
import jax.numpy as jnp
import numpy as np

from bayes_jax import GenerativeModel
from bayes_jax.errors import InputError
from bayes_jax.noise import mean_of
from vae_jax.objectives import kl_per_unit
from vae_jax.tables import Column, Table

ACTIVE_VARIANCE = 1e-2
"""A unit is active where Var_x(E_q[z_u | x]) is larger (Burda et al. 2016, arXiv 1509.00519)."""

WARNED_SHARE = 0.5
"""A person is warned where fewer units than this are active."""

_COLUMNS = [
    Column("unit", "unit", "d"),
    Column("kl", "KL, nats", ".3f", meaning="KL(q(z_u | x) || p(z_u)), mean over images"),
    Column("variance", "Var of its mean", ".4f", meaning="over images, of E_q[z_u | x]"),
    Column("active", "active", meaning=f"whether that variance exceeds {ACTIVE_VARIANCE}"),
]


def unit_table(model: GenerativeModel, x) -> Table:
    """Every latent unit, the busiest first.

    Args:
        model: trained, with a guide.
        x: images `[image, dim]`.

    Returns:
        One row a unit; `kl` is None where guide or prior does not factorise over units.
    """
    variances = np.asarray(_variances(model.guide, x), np.float64)
    divergences = _mean_divergences(model, x)
    rows = [
        {
            "table": "units",
            "unit": int(unit),
            "kl": None if divergences is None else float(divergences[unit]),
            "variance": float(variances[unit]),
            "active": bool(variances[unit] > ACTIVE_VARIANCE),
        }
        for unit in np.argsort(-variances)
    ]
    num_active = sum(row["active"] for row in rows)
    return Table(f"Latent units: {num_active} of {len(rows)} active", rows, _COLUMNS)


def collapse_warning(table: Table) -> str | None:
    """One line where fewer than half of the units carry anything; None where all is well."""
    active = [row["active"] for row in table.rows]
    if sum(active) >= WARNED_SHARE * len(active):
        return None
    return (
        f"posterior collapse: {sum(active)} of {len(active)} latent units carry anything about x; "
        "try --objective.name free_bits, beta with --objective.num-warmup-steps, or fewer latents"
    )


def _variances(guide, x):
    return jnp.var(jax.vmap(lambda x: mean_of(guide(x)))(x), axis=0)


def _mean_divergences(model: GenerativeModel, x):
    prior = model.latent.prior
    try:
        each = jax.vmap(lambda x: kl_per_unit(model.guide(x), prior))(x)
    except InputError:  # they do not factorise
        return None
    return np.mean(np.asarray(each), axis=0, dtype=np.float64)
