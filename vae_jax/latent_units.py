"""What each latent unit of a trained model carries, and a warning where they collapsed."""

import jax
import numpy as np
from jax.tree_util import Partial

from bayes_jax import GenerativeModel
from bayes_jax.errors import InputError
from bayes_jax.noise import mean_of
from vae_jax.objectives.units import ACTIVE_VARIANCE, is_collapsed, kl_per_unit
from vae_jax.tables import Column, Table

IMAGES_AT_ONCE = 500
"""In memory: a flow's mean takes many draws for each."""

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
    variances = np.var(np.asarray(_means(Partial(model.guide), x)), axis=0, dtype=np.float64)
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
    if not is_collapsed(sum(active), len(active)):
        return None
    return (
        f"posterior collapse: {sum(active)} of {len(active)} latent units carry anything about x; "
        "a KL that is weighed less or rises slowly may help, or fewer latents"
    )


@jax.jit
def _means(guide, x):
    return jax.lax.map(lambda x: mean_of(guide(x)), x, batch_size=IMAGES_AT_ONCE)


@jax.jit
def _divergences(guide, prior, x):
    return jax.lax.map(lambda x: kl_per_unit(guide(x), prior), x, batch_size=IMAGES_AT_ONCE)


def _mean_divergences(model: GenerativeModel, x):
    try:
        each = _divergences(Partial(model.guide), model.latent.prior, x)
    except InputError:  # guide or prior does not factorise
        return None
    return np.mean(np.asarray(each), axis=0, dtype=np.float64)
