"""A VAE whose decoder has a posterior over its weights."""

from dataclasses import dataclass
from typing import Literal

from vae_jax.configs.checks import check, check_name
from vae_jax.configs.vae import (
    NetworkConfig,
    ObjectiveConfig,
    PosteriorConfig,
    PriorConfig,
)

WeightPosteriorName = Literal["sghmc", "laplace"]


@dataclass(frozen=True)
class WeightPosteriorConfig:
    """Prior and posterior of a decoder's weights, and how members are drawn from it.

    Attributes:
        name: sghmc (a chain by stochastic gradient Hamiltonian Monte Carlo), laplace (a diagonal
            Gaussian around the mode); both of all weights.
        num_members: kept, the newest.
        num_warmup_epochs: towards the mode by Adam, before weights are drawn.
        num_epochs_between: members.
        prior_scale: standard deviation of biases; that of other weights is divided by the root of
            the number of inputs of their unit.
        temperature: of the posterior that is drawn from. 1 is Bayes' rule; colder ones predict
            better where a network has more weights than data (Wenzel et al. 2020, arXiv
            2002.02405). Noise of the gradients adds to it: `heat` among the metrics of training.
        step_size: of sghmc, in standard deviations of a weight.
        friction: of sghmc; 1 forgets the velocity in 1 / step_size steps.
    """

    name: WeightPosteriorName = "sghmc"
    num_members: int = 10
    num_warmup_epochs: int = 100
    num_epochs_between: int = 5
    prior_scale: float = 5.0
    temperature: float = 0.1
    step_size: float = 0.05
    friction: float = 3.0

    def __post_init__(self):
        check_name(self.name, WeightPosteriorName)
        for field in ("num_members", "num_warmup_epochs", "num_epochs_between"):
            check(getattr(self, field) >= 1, field, getattr(self, field), "at least 1")
        for field in ("prior_scale", "step_size", "friction"):
            check(getattr(self, field) > 0, field, getattr(self, field), "a positive number")
        check(self.temperature >= 0, "temperature", self.temperature, "at least 0")


@dataclass(frozen=True)
class BayesianDecoderConfig:
    """The VAE with an encoder learned as usual, and a posterior over its decoder's weights.

    Attributes:
        latent_dim: L, the number of latent dimensions.
        hidden_dims: widths of the encoder's dense layers; the decoder has them reversed.
        objective: the bound of log p(x) that stands for it in the posterior of the weights.
        posterior: the family of q(z | x).
        prior: the family of p(z).
        network: the bodies of encoder and decoder.
        weights: prior and posterior of the decoder's.
    """

    latent_dim: int = 16
    hidden_dims: tuple[int, ...] = (512, 256)
    objective: ObjectiveConfig = ObjectiveConfig()
    posterior: PosteriorConfig = PosteriorConfig()
    prior: PriorConfig = PriorConfig()
    network: NetworkConfig = NetworkConfig()
    weights: WeightPosteriorConfig = WeightPosteriorConfig()

    def __post_init__(self):
        check(self.latent_dim >= 1, "latent_dim", self.latent_dim, "at least 1")
        is_wide = all(width >= 1 for width in self.hidden_dims)
        check(is_wide, "hidden_dims", self.hidden_dims, "positive widths")
        check(
            self.network.top_dim < self.latent_dim,
            "network.top_dim",
            self.network.top_dim,
            f"less than latent_dim ({self.latent_dim}), of which it is a part",
        )
        bounds = ("elbo", "iwae", "stl", "dreg")
        check(self.objective.name in bounds, "objective", self.objective.name, " or ".join(bounds))
