"""What tests of neural models share: parts small enough to train in a test."""

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
