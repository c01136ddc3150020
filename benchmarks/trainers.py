"""The peers of benchmarks/training.py: the seed VAE's epoch as others train it.

Each maker takes the data and a batch size and returns a function that trains one epoch, shuffled,
on data that stay in memory, and hands back what must be waited for.
"""

import itertools
import os
from collections.abc import Callable
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro.contrib.module import flax_module
from numpyro.infer import SVI, TraceMeanField_ELBO

from vae_jax import training
from vae_jax.configs import NetworkConfig, ObservationSpec, VAEConfig
from vae_jax.data.fresh import fresh_bits
from vae_jax.systems import build
from vae_jax.systems.base import observing

LATENT_DIM, HIDDEN_DIMS, LEARNING_RATE = 20, (512, 256), 1e-3

Epoch = Callable[[], object]


def ours(x: np.ndarray, batch_size: int, *, fresh: bool = False, dtype="float32") -> Epoch:
    """The training loop of this project: an epoch is one compiled scan.

    Args:
        x: 0/1 pixels.
        batch_size: examples per step.
        fresh: draw bits from grey levels at each step.
        dtype: of the layers' products.
    """
    system = observing(_system(x, dtype), fresh_bits(256) if fresh else None)
    data = jnp.asarray(255 * x if fresh else x)
    state = jax.jit(system.init)(jax.random.key(0), data)
    count = 0

    def epoch():
        nonlocal state, count
        count += 1
        key = jax.random.fold_in(jax.random.key(1), count)
        state, metrics, _ = training.train_epoch(
            state, key, data, LEARNING_RATE, step=system.step, batch_size=batch_size
        )
        return state, metrics

    return epoch


def ours_at_once(x: np.ndarray, batch_size: int, *, num_seeds: int) -> Epoch:
    """An epoch of many seeds in one compiled scan."""
    system = _system(x)
    data = jnp.asarray(x)
    keys = jax.random.split(jax.random.key(0), num_seeds)
    states = jax.jit(jax.vmap(system.init, (0, None)))(keys, data)
    rates, active = jnp.full(num_seeds, LEARNING_RATE), jnp.ones(num_seeds, bool)
    count = 0

    def epoch():
        nonlocal states, count
        count += 1
        keys_epoch = jax.vmap(jax.random.fold_in, (0, None))(keys, count)
        states, metrics, _ = training.train_epochs(
            states, keys_epoch, data, rates, active, step=system.step, batch_size=batch_size
        )
        return states, metrics

    return epoch


def step_by_step(x: np.ndarray, batch_size: int) -> Epoch:
    """The same system, each step a call of its own, as Flax examples are written."""
    system = _system(x)
    data = jnp.asarray(x)
    state = jax.jit(system.init)(jax.random.key(0), data)
    generator = np.random.default_rng(0)

    @jax.jit
    def step(state, key, rows):
        batch = data[rows].astype(jnp.float32)
        return system.step(state, key, batch, learning_rate=LEARNING_RATE)

    def epoch():
        nonlocal state
        for index, rows in enumerate(_shuffled(generator, len(x), batch_size)):
            state, metrics = step(state, jax.random.key(index), rows)
        return state, metrics

    return epoch


def numpyro_svi(x: np.ndarray, batch_size: int) -> Epoch:
    """NumPyro's SVI.update over Flax modules, wrapped in a scan: the strongest peer known."""
    dim = x.shape[1]
    encoder, decoder = _Network(HIDDEN_DIMS, 2 * LATENT_DIM), _Network(HIDDEN_DIMS[::-1], dim)

    def model(batch):
        decode = flax_module("decoder", decoder, input_shape=(LATENT_DIM,))
        with numpyro.plate("batch", len(batch)):
            z = numpyro.sample("z", dist.Normal(0, 1).expand([LATENT_DIM]).to_event(1))
            numpyro.sample("x", dist.BernoulliLogits(decode(z)).to_event(1), obs=batch)

    def guide(batch):
        encode = flax_module("encoder", encoder, input_shape=(dim,))
        with numpyro.plate("batch", len(batch)):
            loc, unconstrained = jnp.split(encode(batch), 2, axis=-1)
            numpyro.sample("z", dist.Normal(loc, jax.nn.softplus(unconstrained)).to_event(1))

    svi = SVI(model, guide, numpyro.optim.Adam(LEARNING_RATE), TraceMeanField_ELBO())
    data = jnp.asarray(x)
    state = svi.init(jax.random.key(0), data[:batch_size].astype(jnp.float32))
    num_steps = len(x) // batch_size

    @partial(jax.jit, donate_argnums=0)
    def train(state, key):
        order = jax.random.permutation(key, len(x))[: num_steps * batch_size]

        def one(state, rows):
            return svi.update(state, data[rows].astype(jnp.float32))

        return jax.lax.scan(one, state, order.reshape(num_steps, batch_size))

    count = 0

    def epoch():
        nonlocal state, count
        count += 1
        state, losses = train(state, jax.random.fold_in(jax.random.key(1), count))
        return state, losses

    return epoch


def pytorch(x: np.ndarray, batch_size: int, *, compiled: bool, autocast: bool = False) -> Epoch:
    """PyTorch, eager or compiled: analytic KL, fused Adam; autocast makes products bfloat16."""
    import torch
    from torch.nn import Linear, ReLU, Sequential
    from torch.nn.functional import binary_cross_entropy_with_logits, softplus

    torch.manual_seed(0)
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    device = "cuda" if jax.default_backend() == "gpu" else "cpu"
    if device == "cuda":
        torch.set_float32_matmul_precision("high")  # TF32, as jax's default
    dim = x.shape[1]

    def network(widths):
        layers = [Linear(widths[0], widths[1])]
        for a, b in itertools.pairwise(widths[1:]):
            layers += [ReLU(), Linear(a, b)]
        return Sequential(*layers).to(device)

    encoder = network((dim, *HIDDEN_DIMS, 2 * LATENT_DIM))
    decoder = network((LATENT_DIM, *HIDDEN_DIMS[::-1], dim))
    params = [*encoder.parameters(), *decoder.parameters()]
    optimizer = torch.optim.Adam(params, lr=LEARNING_RATE, fused=True)
    data = torch.from_numpy(x).to(device)

    def loss(batch):
        with torch.autocast(device, torch.bfloat16, enabled=autocast):
            loc, unconstrained = encoder(batch).float().chunk(2, dim=1)
        scale = softplus(unconstrained)
        z = loc + scale * torch.randn_like(loc)
        with torch.autocast(device, torch.bfloat16, enabled=autocast):
            logits = decoder(z)
        reconstruction = binary_cross_entropy_with_logits(logits.float(), batch, reduction="sum")
        kl = 0.5 * (scale**2 + loc**2 - 1).sum() - scale.log().sum()
        return (reconstruction + kl) / len(batch)

    if compiled:
        loss = torch.compile(loss)

    def epoch():
        order = torch.randperm(len(data), device=device)
        for start in range(0, len(data) // batch_size * batch_size, batch_size):
            batch = data[order[start : start + batch_size]].float()
            optimizer.zero_grad(set_to_none=True)
            value = loss(batch)
            value.backward()
            optimizer.step()
        return np.float32(value.item())

    return epoch


class _Network(nn.Module):
    """A multilayer perceptron, in the words of NumPyro's example."""

    hidden_dims: tuple[int, ...]
    output_dim: int

    @nn.compact
    def __call__(self, features):
        for width in self.hidden_dims:
            features = nn.relu(nn.Dense(width)(features))
        return nn.Dense(self.output_dim)(features)


def _system(x, dtype="float32"):
    config = VAEConfig(LATENT_DIM, HIDDEN_DIMS, network=NetworkConfig(dtype=dtype))
    return build("vae", config, ObservationSpec(x.shape[1], "bernoulli"))


def _shuffled(generator, num, batch_size):
    num_steps = num // batch_size
    return generator.permutation(num)[: num_steps * batch_size].reshape(num_steps, batch_size)
