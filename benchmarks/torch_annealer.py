"""Annealed importance sampling in PyTorch: the walk of bayes_jax, batched and written anew.

The strongest peer of benchmarks/evidence.py. All images and chains are annealed at once in float32,
over the very paths that bayes_jax found, and give log weights `[image, chain]` with E[w] = p(x).
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from vae_jax import provenance

# The step is multiplied by U(1 - JITTER, 1 + JITTER), as in bayes_jax.
JITTER = 0.3


class Bridge(NamedTuple):
    """The path of every image from its start to its posterior, as float32 arrays.

    At beta the preconditioner is basis / sqrt(1 - beta + beta precision).

    Attributes:
        loc: mean of the Gaussian start, `[image, latent]`.
        start_factor: its Cholesky factor, `[image, latent, latent]`; the identity for the prior.
        basis: turns the start into the identity and the posterior into a diagonal,
            `[image, latent, latent]`.
        precision: the posterior's in that basis, `[image, latent]`.
        step_size: of each move, `[image, temperature - 1]`.
    """

    loc: np.ndarray
    start_factor: np.ndarray
    basis: np.ndarray
    precision: np.ndarray
    step_size: np.ndarray


class TorchAnnealer:
    """bayes_jax's annealing of a Bernoulli ReLU decoder under N(0, I), in PyTorch.

    One row for each image and chain; log p(x, z) is asked for where a move ends, not at the
    leapfrogs within. Gradients are autograd's, as ours are, or explicit matrix products that hold
    for this one decoder alone; by products in bfloat16 if so asked, the values then in a pass of
    their own.
    """

    def __init__(
        self,
        params,
        *,
        betas: Sequence[float],
        num_chains: int = 16,
        num_leapfrogs: int = 2,
        compiled: bool = False,
        by_hand: bool = False,
        half: bool = False,
        num_threads: int | None = None,
    ):
        """Copy the decoder.

        Args:
            params: those of a Flax `MLP`: `{"params": {"Dense_0": ..., "output": ...}}`, each layer
                a kernel `[input, output]` and a bias.
            betas: inverse temperatures 0 = beta_0 < ... < beta_T = 1.
            num_chains: per image.
            num_leapfrogs: of a move.
            compiled: run the decoder through `torch.compile`, which needs a C++ compiler on CPUs.
            by_hand: gradients by explicit matrix products instead of autograd.
            half: gradients under PyTorch's autocast to bfloat16.
            num_threads: of PyTorch, set for the whole process; None takes all cores it may use.
        """
        torch.set_num_threads(num_threads or provenance.num_cores())
        hidden = sorted(name for name in params["params"] if name != "output")
        layers = [params["params"][name] for name in [*hidden, "output"]]
        self._layers = [(_tensor(layer["kernel"]), _tensor(layer["bias"])) for layer in layers]
        self._betas = np.asarray(betas, np.float64)
        self._num_chains, self._num_leapfrogs = num_chains, num_leapfrogs
        functions = _decode_by_hand if by_hand else _decode, _log_lik
        if compiled:
            functions = [torch.compile(function, dynamic=False) for function in functions]
        self._decode, self._log_lik = functions
        self._half = half

    @torch.no_grad()
    def __call__(self, seed: int, x, bridge: Bridge) -> np.ndarray:
        """Anneal every image of a batch.

        Args:
            seed: of the generator.
            x: 0/1 pixels `[image, pixel]`.
            bridge: the paths.

        Returns:
            log weights `[image, chain]` in nats.
        """
        generator = torch.Generator().manual_seed(seed)
        x, bridge = _tensor(x)[:, None], Bridge(*map(_tensor, bridge))
        start = _Start.of(bridge)
        shape = (len(x), self._num_chains, bridge.loc.shape[-1])
        z = start.sample(torch.randn(shape, generator=generator))
        terms = self._terms(start, z, x)
        log_weight = torch.zeros(shape[:2])
        increments = np.diff(self._betas)
        for move, beta in enumerate(self._betas[1:-1]):
            log_weight += increments[move] * terms.bridge
            z, terms = self._move(generator, start, bridge, x, z, terms, beta, move)
        return (log_weight + increments[-1] * terms.bridge).numpy()

    def num_grads(self) -> int:
        """Gradients of log p(x, z) that one image costs."""
        return self._num_chains * (1 + (len(self._betas) - 2) * self._num_leapfrogs)

    def _terms(self, start, z, x, *, with_values=True) -> "_Terms":
        with torch.autocast("cpu", torch.bfloat16, enabled=self._half):
            log_lik, gradient = self._decode(self._layers, x, z, with_values and not self._half)
        if with_values and self._half:
            log_lik = self._log_lik(self._layers, x, z)
        start_value, start_gradient = start.value_and_gradient(z)
        value = log_lik - 0.5 * (z**2).sum(-1) - 0.5 * z.shape[-1] * math.log(2 * math.pi)
        return _Terms(start_value, value - start_value, start_gradient, gradient - z)

    def _move(self, generator, start, bridge, x, z, terms, beta, move):
        """One HMC transition of every chain at inverse temperature beta."""
        factor = bridge.basis / torch.sqrt(1 - beta + beta * bridge.precision)[:, None]
        jitter = 1 + JITTER * (2 * torch.rand((*z.shape[:2], 1), generator=generator) - 1)
        step = bridge.step_size[:, move, None, None] * jitter
        momentum = torch.randn(z.shape, generator=generator)
        energy = 0.5 * (momentum**2).sum(-1) - terms.value(beta)
        position, proposed = z, terms
        for leapfrog in range(1, self._num_leapfrogs + 1):
            momentum = momentum + 0.5 * step * (proposed.gradient(beta) @ factor)
            position = position + step * (momentum @ factor.mT)
            last = leapfrog == self._num_leapfrogs
            proposed = self._terms(start, position, x, with_values=last)
            momentum = momentum + 0.5 * step * (proposed.gradient(beta) @ factor)
        error = 0.5 * (momentum**2).sum(-1) - proposed.value(beta) - energy
        # A NaN is no acceptance: the comparison is False.
        accepted = torch.rand(error.shape, generator=generator).log() < -error
        z = torch.where(accepted[..., None], position, z)
        return z, terms.replaced(proposed, accepted)


class _Terms(NamedTuple):
    """log q0 and log p(x, z) - log q0 at z, and the gradients of log q0 and log p(x, z)."""

    start: torch.Tensor
    bridge: torch.Tensor
    start_gradient: torch.Tensor
    target_gradient: torch.Tensor

    def value(self, beta):
        return self.start + beta * self.bridge

    def gradient(self, beta):
        return (1 - beta) * self.start_gradient + beta * self.target_gradient

    def replaced(self, proposed: "_Terms", accepted) -> "_Terms":
        def choose(new, old):
            return torch.where(accepted if new.ndim == 2 else accepted[..., None], new, old)

        return _Terms(*map(choose, proposed, self))


class _Start(NamedTuple):
    """N(loc, factor factorᵀ) of every image, with the inverse factor at hand."""

    loc: torch.Tensor
    factor: torch.Tensor
    inverse: torch.Tensor
    log_normaliser: torch.Tensor

    @classmethod
    def of(cls, bridge: Bridge) -> "_Start":
        factor = bridge.start_factor
        log_diagonal = torch.log(torch.diagonal(factor, dim1=-2, dim2=-1))
        normaliser = torch.sum(log_diagonal + 0.5 * math.log(2 * math.pi), -1, keepdim=True)
        return cls(bridge.loc[:, None], factor, torch.linalg.inv(factor), normaliser)

    def sample(self, noise):
        return self.loc + noise @ self.factor.mT

    def value_and_gradient(self, z):
        noise = (z - self.loc) @ self.inverse.mT
        return -0.5 * (noise**2).sum(-1) - self.log_normaliser, -noise @ self.inverse


def _log_lik(layers, x, z):
    """log p(x | z) `[image, chain]`."""
    activation = z.reshape(-1, z.shape[-1])
    for weight, offset in layers[:-1]:
        activation = torch.addmm(offset, activation, weight).relu()
    logits = torch.addmm(layers[-1][1], activation, layers[-1][0]).reshape(*z.shape[:2], -1)
    return (x * logits - torch.nn.functional.softplus(logits)).sum(-1)


def _decode(layers, x, z, with_values: bool):
    """log p(x | z) `[image, chain]` and its gradient; compiled, only what is asked for."""

    def total(z):
        log_lik = _log_lik(layers, x, z)
        return log_lik.sum(), log_lik

    gradient, (_, log_lik) = torch.func.grad_and_value(total, has_aux=True)(z)
    return log_lik if with_values else torch.zeros_like(log_lik), gradient


def _decode_by_hand(layers, x, z, with_values: bool):
    """The same by explicit products; log p(x | z) is 0 where it is not asked for."""
    *hidden, (kernel, bias) = layers
    activation, activations = z.reshape(-1, z.shape[-1]), []
    for weight, offset in hidden:
        activation = torch.addmm(offset, activation, weight).relu()
        activations.append(activation)
    logits = torch.addmm(bias, activation, kernel).reshape(*z.shape[:2], -1)
    gradient = (x - torch.sigmoid(logits)).reshape(-1, x.shape[-1]) @ kernel.T
    for (weight, _), activation in zip(reversed(hidden), reversed(activations), strict=True):
        gradient = (gradient * (activation > 0)) @ weight.T
    if with_values:
        log_lik = (x * logits - torch.nn.functional.softplus(logits)).sum(-1)
    else:
        log_lik = logits.new_zeros(z.shape[:2])
    return log_lik, gradient.reshape(z.shape)


def _tensor(array) -> torch.Tensor:
    return torch.tensor(np.asarray(array, np.float32))
