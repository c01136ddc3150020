"""The multilayer perceptron, and the bias that any body starts from."""

from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Num, PyTree

from vae_jax.networks.half_product import half_dot_general


class MLP(nn.Module):
    """A multilayer perceptron with a linear output.

    The seed VAE is `MLP((512, 256), 2 * latent_dim)` as encoder and `MLP((256, 512), pixels)` as
    decoder, whose outputs are logits.

    Attributes:
        hidden_dims: widths of the hidden layers; empty makes it one affine map.
        output_dim: number of output features.
        activation: between its layers.
        dtype: of the factors of its products; sums, params and output are float32.
    """

    hidden_dims: tuple[int, ...]
    output_dim: int
    activation: Callable = nn.relu
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, features: Num[Array, "*batch input"]) -> Float[Array, "*batch output"]:
        """Map features `[..., input]` to `[..., output_dim]`."""
        is_half = jnp.bfloat16 in (self.dtype, features.dtype)
        how = {"dtype": jnp.float32, "dot_general": half_dot_general if is_half else None}
        for width in self.hidden_dims:
            features = self.activation(nn.Dense(width, **how)(features))
        return nn.Dense(self.output_dim, name="output", **how)(features)


def with_output_bias(params: PyTree, bias: Float[Array, " output"]) -> PyTree:
    """The params of a network with the bias of its last layer replaced.

    Args:
        params: what `init` of a module returned that has a layer "output", or a "body" that has.
        bias: the features that the network shall give before it has learned anything.

    Returns:
        Params of the same structure.
    """
    return {**params, "params": _with_output_bias(params["params"], bias)}


def _with_output_bias(layers, bias):
    if "body" in layers:
        return {**layers, "body": _with_output_bias(layers["body"], bias)}
    return {**layers, "output": {**layers["output"], "bias": bias}}
