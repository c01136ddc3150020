"""A decoder learned without an encoder."""

from dataclasses import dataclass

from vae_jax.configs.checks import check
from vae_jax.configs.training import OptimizerConfig
from vae_jax.configs.vae import NetworkConfig


@dataclass(frozen=True)
class DeepLatentConfig:
    """The VAE's decoder, learned from posterior draws by MCMC in place of an encoder's.

    Attributes:
        latent_dim: L, the number of latent dimensions.
        hidden_dims: widths as the VAE's encoder has them; the decoder has them reversed.
        network: the body of the decoder.
        num_chains: of each training image; they go on from epoch to epoch.
        num_moves: Hamiltonian moves of every chain each time its image is in a batch.
        num_leapfrogs: gradients of a move.
        optimizer: clipping and averaging.
    """

    latent_dim: int = 16
    hidden_dims: tuple[int, ...] = (512, 256)
    network: NetworkConfig = NetworkConfig()
    num_chains: int = 2
    num_moves: int = 3
    num_leapfrogs: int = 5
    optimizer: OptimizerConfig = OptimizerConfig()

    def __post_init__(self):
        for field in ("latent_dim", "num_chains", "num_moves", "num_leapfrogs"):
            check(getattr(self, field) >= 1, field, getattr(self, field), "at least 1")
        is_wide = all(width >= 1 for width in self.hidden_dims)
        check(is_wide, "hidden_dims", self.hidden_dims, "positive widths")
        check(
            self.network.top_dim < self.latent_dim,
            "network.top_dim",
            self.network.top_dim,
            f"less than latent_dim ({self.latent_dim}), of which it is a part",
        )
