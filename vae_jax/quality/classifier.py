"""A small classifier of images, trained in the run: class probabilities, and features of images."""

from functools import partial
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from vae_jax.networks import MLP

_HIDDEN_DIM, _BATCH = 256, 100


class ClassifierNetwork(nn.Module):
    """An MLP whose last hidden layer gives features.

    Attributes:
        num_classes: outputs.
        num_features: width of the last hidden layer.
    """

    num_classes: int
    num_features: int = 64

    def setup(self):
        """Two hidden layers and an affine map."""
        self.body = MLP((_HIDDEN_DIM,), self.num_features)
        self.head = nn.Dense(self.num_classes)

    def features(self, x: Float[Array, "*batch dim"]) -> Float[Array, "*batch feature"]:
        """What the last layer reads."""
        return nn.relu(self.body(x))

    def __call__(self, x: Float[Array, "*batch dim"]) -> Float[Array, "*batch class"]:
        """Logits of the classes."""
        return self.head(self.features(x))


class Classifier(NamedTuple):
    """A trained one.

    Attributes:
        network: its architecture.
        params: its weights.
    """

    network: ClassifierNetwork
    params: PyTree

    def features(self, x: Float[Array, "num dim"]) -> Float[Array, "num feature"]:
        """Activations of the last hidden layer."""
        return _features(self.params, x, network=self.network)

    def log_probs(self, x: Float[Array, "num dim"]) -> Float[Array, "num class"]:
        """log p(class | x) in nats."""
        return _log_probs(self.params, x, network=self.network)

    def classify(self, x: Float[Array, "num dim"]) -> Int[Array, " num"]:
        """The most probable class."""
        return jnp.argmax(self.log_probs(x), axis=-1)


def fit_classifier(
    key: PRNGKeyArray,
    x: Float[Array, "num dim"],
    labels: Int[Array, " num"],
    *,
    num_classes: int,
    num_steps: int = 2000,
    weight_decay: float = 1e-2,
) -> Classifier:
    """Minimise the cross-entropy by AdamW, in one compiled scan.

    Args:
        key: of the first weights and of the batches.
        x: images.
        labels: 0 .. num_classes - 1.
        num_classes: how many.
        num_steps: updates, each on 100 images drawn with replacement.
        weight_decay: of AdamW.
    """
    network = ClassifierNetwork(num_classes)
    params = _fit(key, x, labels, weight_decay, network=network, num_steps=num_steps)
    return Classifier(network, params)


@partial(jax.jit, static_argnames=("network", "num_steps"))
def _fit(key, x, labels, weight_decay, *, network, num_steps):
    key_init, key_rows = jax.random.split(key)
    params = network.init(key_init, x[0])
    optimizer = optax.adamw(1e-3, weight_decay=weight_decay)

    def loss(params, rows):
        logits = network.apply(params, x[rows])
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels[rows]).mean()

    def step(carry, rows):
        params, opt_state = carry
        updates, opt_state = optimizer.update(jax.grad(loss)(params, rows), opt_state, params)
        return (optax.apply_updates(params, updates), opt_state), None

    rows = jax.random.randint(key_rows, (num_steps, _BATCH), 0, len(x))
    return jax.lax.scan(step, (params, optimizer.init(params)), rows)[0][0]


@partial(jax.jit, static_argnames="network")
def _features(params, x, *, network):
    return network.apply(params, x, method="features")


@partial(jax.jit, static_argnames="network")
def _log_probs(params, x, *, network):
    return jax.nn.log_softmax(network.apply(params, x))
