"""A VAE and its parts: objective, posterior, prior and networks."""

import math
from dataclasses import dataclass
from typing import Literal

from vae_jax.configs.checks import check, check_name, check_owners
from vae_jax.configs.training import OptimizerConfig

Objective = Literal["elbo", "iwae", "stl", "dreg", "beta", "free_bits", "capacity"]
PosteriorName = Literal["mean_field", "full_rank", "planar", "coupling", "iaf"]
PriorName = Literal["standard_normal", "mixture", "vamp", "flow"]
NetworkName = Literal["mlp", "conv", "residual"]
ComputeDtype = Literal["float32", "bfloat16"]
Activation = Literal["relu", "tanh"]


@dataclass(frozen=True)
class ObjectiveConfig:
    """What a VAE maximises.

    Attributes:
        name: elbo, iwae (importance-weighted bound), stl and dreg (the same bound, gradients of
            less variance), beta (weighted KL), free_bits, capacity.
        num_samples: draws of z; K of iwae, stl and dreg.
        beta: weight of the KL.
        free_nats: of each latent unit, for free_bits.
        capacity: nats that the KL shall have, for capacity.
        weight: of the distance to the capacity.
        num_warmup_steps: over which beta or capacity rises to its value. Validation watches the
            whole objective from the start: let the patience outlast the rise.
    """

    name: Objective = "elbo"
    num_samples: int = 1
    beta: float = 1.0
    free_nats: float = 0.1
    capacity: float = 25.0
    weight: float = 10.0
    num_warmup_steps: int = 0

    def __post_init__(self):
        check_name(self.name, Objective)
        check(self.num_samples >= 1, "num_samples", self.num_samples, "at least 1")
        for field in ("beta", "free_nats", "capacity", "weight", "num_warmup_steps"):
            value = getattr(self, field)
            check(0 <= value < math.inf, field, value, "at least 0, and finite")
        check_owners(self, _OF_OBJECTIVES, "an objective")


_OF_OBJECTIVES = {
    "beta": ("beta",),
    "free_nats": ("free_bits",),
    "capacity": ("capacity",),
    "weight": ("capacity",),
    "num_warmup_steps": ("beta", "capacity"),
}


@dataclass(frozen=True)
class PosteriorConfig:
    """The family of q(z | x).

    Attributes:
        name: mean_field, full_rank (Gaussians), planar, coupling, iaf (flows).
        num_layers: of a flow.
        hidden_dim: hidden units of each layer of coupling and iaf.
    """

    name: PosteriorName = "mean_field"
    num_layers: int = 4
    hidden_dim: int = 64

    def __post_init__(self):
        check_name(self.name, PosteriorName)
        check(self.num_layers >= 1, "num_layers", self.num_layers, "at least 1")
        check(self.hidden_dim >= 1, "hidden_dim", self.hidden_dim, "at least 1")
        check_owners(self, _OF_POSTERIORS, "a posterior")


_OF_POSTERIORS = {"num_layers": ("planar", "coupling", "iaf"), "hidden_dim": ("coupling", "iaf")}


@dataclass(frozen=True)
class PriorConfig:
    """The family of p(z).

    Attributes:
        name: standard_normal, mixture (of normals), vamp (of what the encoder makes of learned
            pseudo-inputs), flow.
        num_components: of mixture; pseudo-inputs of vamp.
        num_layers: of flow.
        hidden_dim: hidden units of each layer of flow.
    """

    name: PriorName = "standard_normal"
    num_components: int = 100
    num_layers: int = 4
    hidden_dim: int = 64

    def __post_init__(self):
        check_name(self.name, PriorName)
        for field in ("num_components", "num_layers", "hidden_dim"):
            check(getattr(self, field) >= 1, field, getattr(self, field), "at least 1")
        check_owners(self, _OF_PRIORS, "a prior")


_OF_PRIORS = {
    "num_components": ("mixture", "vamp"),
    "num_layers": ("flow",),
    "hidden_dim": ("flow",),
}


@dataclass(frozen=True)
class NetworkConfig:
    """The bodies of encoder and decoder, mirror images of each other.

    Attributes:
        name: mlp; conv (convolutions of stride 2, then dense layers); residual (with residual
            blocks between them).
        channels: of each convolution of stride 2, from the image inwards.
        activation: between layers.
        top_dim: latents of a second level, the first of z: the decoder draws the others given them.
            Their posteriors depend on each other, which a coupling or iaf posterior can say.
        dtype: of the layers' products in training; params, losses, the optimizer, validation and
            all inference are float32.
    """

    name: NetworkName = "mlp"
    channels: tuple[int, ...] = (32, 64)
    activation: Activation = "relu"
    top_dim: int = 0
    dtype: ComputeDtype = "float32"

    def __post_init__(self):
        check_name(self.name, NetworkName)
        check_name(self.activation, Activation, "activation")
        check_name(self.dtype, ComputeDtype, "dtype")
        is_wide = bool(self.channels) and all(width >= 1 for width in self.channels)
        check(is_wide, "channels", self.channels, "positive numbers, one at least")
        check(self.top_dim >= 0, "top_dim", self.top_dim, "at least 0")
        check_owners(self, {"channels": ("conv", "residual")}, "a network")

    @property
    def num_blocks(self) -> int:
        """Residual blocks of each level."""
        return 2 if self.name == "residual" else 0


@dataclass(frozen=True)
class VAEConfig:
    """The seed VAE: encoder x-512-256-2L, ReLU, decoder L-256-512-x, ELBO or another objective.

    Attributes:
        latent_dim: L, the number of latent dimensions.
        hidden_dims: widths of the encoder's dense layers; the decoder has them reversed.
        objective: what it maximises.
        posterior: the family of q(z | x).
        prior: the family of p(z).
        network: the bodies of encoder and decoder.
        optimizer: clipping and averaging.
    """

    latent_dim: int = 16
    hidden_dims: tuple[int, ...] = (512, 256)
    objective: ObjectiveConfig = ObjectiveConfig()
    posterior: PosteriorConfig = PosteriorConfig()
    prior: PriorConfig = PriorConfig()
    network: NetworkConfig = NetworkConfig()
    optimizer: OptimizerConfig = OptimizerConfig()

    def __post_init__(self):
        check(self.latent_dim >= 1, "latent_dim", self.latent_dim, "at least 1")
        check(
            all(width >= 1 for width in self.hidden_dims),
            "hidden_dims",
            self.hidden_dims,
            "positive widths",
        )
        check(
            self.network.top_dim < self.latent_dim,
            "network.top_dim",
            self.network.top_dim,
            f"less than latent_dim ({self.latent_dim}), of which it is a part",
        )
        check(
            self.posterior.name != "iaf" or self.posterior.hidden_dim >= self.latent_dim - 1,
            "posterior.hidden_dim",
            self.posterior.hidden_dim,
            f"at least latent_dim - 1 ({self.latent_dim - 1}) for iaf, a unit for each order",
        )
        check(
            self.objective.name not in ("iwae", "dreg") or self.objective.num_samples > 1,
            "objective.num_samples",
            self.objective.num_samples,
            f"at least 2 for {self.objective.name}, whose bound of one sample is the ELBO",
        )
        check(
            self.objective.name not in ("free_bits", "capacity")
            or (self.posterior.name, self.prior.name) == ("mean_field", "standard_normal"),
            "objective",
            self.objective.name,
            "a mean_field posterior and a standard_normal prior beside it, whose KL is exact",
        )


@dataclass(frozen=True)
class IWAEConfig(VAEConfig):
    """The same networks trained on the importance-weighted bound of 5 (arXiv 1509.00519)."""

    objective: ObjectiveConfig = ObjectiveConfig("iwae", num_samples=5)

    def __post_init__(self):
        super().__post_init__()
        bounds = ("iwae", "stl", "dreg")
        check(self.objective.name in bounds, "objective", self.objective.name, " or ".join(bounds))
