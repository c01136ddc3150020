"""Draws as ArviZ knows them, for its plots and diagnostics; ArviZ 0.23 and 1.x (`[arviz]`)."""

from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from bayes_jax.errors import InputError
from bayes_jax.estimates import Draws


def to_arviz(draws: Draws) -> Any:
    """The draws of a batch, `x` being the first dimension of each variable.

    Args:
        draws: leaves of z `[batch, chain, draw, ...]`; a single array becomes the variable "z".

    Returns:
        ArviZ 0.23's InferenceData or ArviZ 1.x's DataTree, with the groups posterior (variables
        `[chain, draw, x, ...]`) and sample_stats (`lp` and `energy` in nats).

    Raises:
        InputError: ArviZ is not installed.
    """
    try:
        import arviz
    except ImportError as error:
        raise InputError('ArviZ is not installed: pip install "vae-bayes-jax[arviz]"') from error
    variables = {name: _chains_first(leaf) for name, leaf in _named(draws.z)}
    groups = {
        "posterior": variables,
        "sample_stats": {
            "lp": _chains_first(draws.log_joint),
            "energy": _chains_first(draws.energy),
        },
    }
    dims = {
        name: ["x", *(f"{name}_dim_{axis}" for axis in range(values.ndim - 3))]
        for group in groups.values()
        for name, values in group.items()
    }
    if int(arviz.__version__.split(".")[0]) == 0:
        return arviz.from_dict(**groups, dims=dims)
    return arviz.from_dict(groups, dims=dims)


def _named(z: PyTree) -> list[tuple[str, Any]]:
    """Leaves by their path in the pytree."""
    leaves, _ = jax.tree.flatten_with_path(z)
    keystr = jax.tree_util.keystr
    return [(keystr(path, simple=True, separator=".") or "z", leaf) for path, leaf in leaves]


def _chains_first(leaf: Any) -> np.ndarray:
    return np.moveaxis(np.asarray(leaf), 0, 2)
