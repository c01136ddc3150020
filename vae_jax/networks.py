"""Network bodies: features in, features out, no probability (Flax Linen)."""

import flax.linen as nn
from jaxtyping import Array, Float, Num, PyTree


class MLP(nn.Module):
    """A multilayer perceptron with ReLU between its layers and a linear output.

    The seed VAE is `MLP((512, 256), 2 * latent_dim)` as encoder and `MLP((256, 512), pixels)` as
    decoder, whose outputs are logits.

    Attributes:
        hidden_dims: widths of the hidden layers; empty makes it one affine map.
        output_dim: number of output features.
    """

    hidden_dims: tuple[int, ...]
    output_dim: int

    @nn.compact
    def __call__(self, features: Num[Array, "*batch input"]) -> Float[Array, "*batch output"]:
        """Map features `[..., input]` to `[..., output_dim]`."""
        for width in self.hidden_dims:
            features = nn.relu(nn.Dense(width)(features))
        return nn.Dense(self.output_dim, name="output")(features)


def with_output_bias(params: PyTree, bias: Float[Array, " output"]) -> PyTree:
    """The params of an `MLP` with the bias of its last layer replaced.

    Args:
        params: what `MLP.init` returned.
        bias: the features that the network shall give before it has learned anything.

    Returns:
        Params of the same structure.
    """
    layers = params["params"]
    output = {**layers["output"], "bias": bias}
    return {**params, "params": {**layers, "output": output}}
