"""p(x) as a product over pixels, a NumPyro distribution: exact log p, and draws in one scan."""

import math
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jaxtyping import Array, Float, Num, PRNGKeyArray, PyTree


class CausalBody(NamedTuple):
    """How params make the features of a pixel of those before it; equal bodies share functions.

    Attributes:
        features: `(params, x [dim], context) -> [dim * per pixel]`, all at once.
        start: `(params, context) -> cache`.
        advance: `(params, cache, index, previous) -> (cache, [per pixel])`, the features of pixel
            `index` from the pixel before it and what was kept.
        pixels: `(features, params of the head) -> Distribution` over all pixels.
        pixel: the same of one pixel, event shape `[1]`, and its index.
        inputs: pixels as a network reads them.
    """

    features: Callable
    start: Callable
    advance: Callable
    pixels: Callable
    pixel: Callable
    inputs: Callable


class Pixelwise(dist.Distribution):
    """Pixels one after the other, each given those before it and a context.

    Attributes:
        params: of the network, under "network", and of the head, under "head".
        context: seen by all pixels, `[context]`.
        body: what makes the features.
    """

    arg_constraints: ClassVar = {}
    pytree_data_fields = ("params", "context")
    pytree_aux_fields = ("body", "_dim")

    def __init__(
        self,
        params: PyTree,
        context: Float[Array, " context"],
        *,
        body: CausalBody,
        dim: int,
        validate_args: Any = None,
    ):
        """From params, a context that may be empty, and the number of pixels."""
        self.params, self.context, self.body, self._dim = params, context, body, dim
        super().__init__(event_shape=(dim,), validate_args=validate_args)

    @property
    def support(self):
        """That of the head."""
        return self._given(jnp.zeros(self._dim)).support

    def log_prob(self, value: Num[Array | np.ndarray, "*sample dim"]) -> Float[Array, "*sample"]:
        """The exact log probability (density) in nats, in one pass."""
        if value.ndim > 1:
            return jax.vmap(self.log_prob)(value)
        return self._given(value).log_prob(value)

    def sample(
        self, key: PRNGKeyArray, sample_shape: tuple[int, ...] = ()
    ) -> Float[Array, "*sample dim"]:
        """Draws, pixel by pixel in one scan; of many at once."""
        num = math.prod(sample_shape)
        draws = jax.vmap(self._one_draw)(jax.random.split(key, num))
        return draws.reshape(*sample_shape, self._dim)

    def _given(self, x):
        inputs = jnp.asarray(self.body.inputs(x), float)
        features = self.body.features(self.params["network"], inputs, self.context)
        return self.body.pixels(features, self.params["head"])

    def _one_draw(self, key):
        network, head = self.params["network"], self.params["head"]

        def one_pixel(carry, inputs):
            cache, previous = carry
            index, key = inputs
            cache, features = self.body.advance(network, cache, index, previous)
            pixel = self.body.pixel(features, head, index).sample(key)[0].astype(jnp.float32)
            return (cache, self.body.inputs(pixel)), pixel

        carry = self.body.start(network, self.context), jnp.float32(0.0)
        inputs = jnp.arange(self._dim), jax.random.split(key, self._dim)
        return jax.lax.scan(one_pixel, carry, inputs)[1]
