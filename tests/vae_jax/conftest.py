"""What tests of neural models share: parts small enough to train in a test, and not at rest."""

import jax
import numpy as np

_FLOW = {"num_layers": 2, "hidden_dim": 8}
_COMPONENTS = {"num_components": 5}
_CONVOLUTIONS = {"channels": (4, 8)}
_FEW = {
    "planar": {"num_layers": 2},
    "coupling": _FLOW,
    "iaf": _FLOW,
    "flow": _FLOW,
    "mixture": _COMPONENTS,
    "vamp": _COMPONENTS,
    "conv": _CONVOLUTIONS,
    "residual": _CONVOLUTIONS,
}


def few(name: str) -> dict:
    """Options that make a posterior, prior or network of this name a small one."""
    return _FEW.get(name, {})


def shaken(params, spread=0.3):
    """Params away from where training starts, at which flows are the identity."""
    leaves, treedef = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(9), len(leaves))
    noise = [jax.random.normal(key, leaf.shape) for key, leaf in zip(keys, leaves, strict=True)]
    return jax.tree.map(lambda a, b: a + spread * b, params, jax.tree.unflatten(treedef, noise))


def moved_by_others(flow, z) -> np.ndarray:
    """How much each coordinate of a flow's draw depends on any other one of its base, near z."""

    def through(z):
        for transform in flow.transforms:
            z = transform(z)
        return z

    slopes = np.abs(np.asarray(jax.jacfwd(through)(z)))
    return np.max(slopes - np.diag(np.diag(slopes)), axis=1)
