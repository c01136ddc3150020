"""Generative adversarial networks."""

from dataclasses import dataclass
from typing import Literal

from vae_jax.configs.checks import check, check_name
from vae_jax.configs.vae import NetworkConfig

Adversary = Literal["non_saturating", "wasserstein"]


@dataclass(frozen=True)
class GANConfig:
    """A generator G of the VAE's decoder sizes, and a critic of its encoder's.

    Attributes:
        latent_dim: L, the number of latent dimensions.
        hidden_dims: widths of the critic's dense layers; the generator has them reversed.
        network: the bodies of critic and generator.
        loss: non_saturating (with a penalty on the critic's slope at real images), wasserstein
            (with one on its distance from slope 1 between real and generated images).
        penalty: weight of the penalty.
        num_critic_steps: steps of the critic for each of the generator.
        average_decay: of the moving average of the generator that is evaluated and kept; 0 keeps
            the generator itself.
        scale: s of the observation model N(G(z), s^2), under which grey pixels have an evidence;
            bits have Bernoulli(G(z)) instead.
    """

    latent_dim: int = 10
    hidden_dims: tuple[int, ...] = (512, 256)
    network: NetworkConfig = NetworkConfig()
    loss: Adversary = "non_saturating"
    penalty: float = 10.0
    num_critic_steps: int = 1
    average_decay: float = 0.999
    scale: float = 0.1

    def __post_init__(self):
        check(self.latent_dim >= 1, "latent_dim", self.latent_dim, "at least 1")
        is_wide = all(width >= 1 for width in self.hidden_dims)
        check(is_wide, "hidden_dims", self.hidden_dims, "positive widths")
        check_name(self.loss, Adversary, "loss")
        check(self.penalty >= 0, "penalty", self.penalty, "at least 0")
        check(self.num_critic_steps >= 1, "num_critic_steps", self.num_critic_steps, "at least 1")
        check(0 <= self.average_decay < 1, "average_decay", self.average_decay, "from 0 to below 1")
        check(self.scale > 0, "scale", self.scale, "a positive number")
        check(self.network.top_dim == 0, "network.top_dim", self.network.top_dim, "0 in a GAN")
