"""A weighted mixture of posteriors of any one family, flows too: what a VampPrior is."""

from typing import ClassVar

import jax
import numpyro.distributions as dist
from jaxtyping import Array, Float, PRNGKeyArray
from numpyro.distributions import constraints


class PosteriorMixture(dist.Distribution):
    """sum_c weight_c q_c(z).

    NumPyro's own mixtures want components whose parameters broadcast; the maps of a flow do not,
    so each component is asked on its own, under `vmap`.

    Attributes:
        logits: of the weights, `[component]`.
        components: one distribution over vectors, every leaf with a leading component axis.
    """

    arg_constraints: ClassVar = {"logits": constraints.real_vector}
    support = constraints.real_vector
    pytree_data_fields = ("logits", "components")

    def __init__(
        self,
        logits: Float[Array, " component"],
        components: dist.Distribution,
        *,
        validate_args: bool | None = None,
    ):
        """From logits and what `jax.vmap(guide)` gives."""
        self.logits, self.components = logits, components
        super().__init__(event_shape=components.event_shape, validate_args=validate_args)

    def log_prob(self, value: Float[Array, "*sample latent"]) -> Float[Array, "*sample"]:
        """The log density in nats."""
        each = jax.vmap(lambda q: q.log_prob(value), out_axes=-1)(self.components)
        return jax.nn.logsumexp(each + jax.nn.log_softmax(self.logits), axis=-1)

    def sample(
        self, key: PRNGKeyArray, sample_shape: tuple[int, ...] = ()
    ) -> Float[Array, "*sample latent"]:
        """Draws, each from a component of its own. Their gradients do not reach the weights."""
        key_component, key_draw = jax.random.split(key)
        index = jax.random.categorical(key_component, self.logits, shape=sample_shape)

        def draw(key, index):
            return jax.tree.map(lambda leaf: leaf[index], self.components).sample(key)

        keys = jax.random.split(key_draw, index.size)
        return jax.vmap(draw)(keys, index.ravel()).reshape(*sample_shape, *self.event_shape)
