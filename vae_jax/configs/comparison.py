"""What one comparison takes: models, data, and what each inference may spend."""

from dataclasses import dataclass

from vae_jax.configs.checks import check
from vae_jax.configs.data import DataConfig, Track
from vae_jax.configs.training import TrainConfig


@dataclass(frozen=True)
class InferenceBudget:
    """How much each inference of a comparison may spend.

    Attributes:
        num_images: test images whose evidence is bounded.
        num_posteriors: of these, how many are sampled by MCMC.
        num_chains: of annealing and MCMC, per image.
        num_temperatures_prior: annealing steps from the prior.
        num_temperatures_guide: annealing steps from the guide.
        num_elbo_samples: draws behind each ELBO.
        num_reference_draws: kept MCMC draws per chain.
        num_simulations: images simulated from a decoder, on which annealing bounds log p(x) from
            both sides; 0 for none.
        batch_size: images in memory at once; all at once if unset.
    """

    num_images: int = 128
    num_posteriors: int = 32
    num_chains: int = 16
    num_temperatures_prior: int = 300
    num_temperatures_guide: int = 100
    num_elbo_samples: int = 1000
    num_reference_draws: int = 300
    num_simulations: int = 64
    batch_size: int | None = 128

    def __post_init__(self):
        for field in (
            "num_images",
            "num_posteriors",
            "num_chains",
            "num_temperatures_prior",
            "num_temperatures_guide",
            "num_elbo_samples",
            "num_reference_draws",
        ):
            check(getattr(self, field) >= 2, field, getattr(self, field), "at least 2")
        check(
            self.num_simulations == 0 or self.num_simulations >= 2,
            "num_simulations",
            self.num_simulations,
            "0, or at least 2",
        )
        check(
            self.num_posteriors <= self.num_images,
            "num_posteriors",
            self.num_posteriors,
            f"at most num_images ({self.num_images})",
        )
        check(
            self.batch_size is None or self.batch_size >= 1,
            "batch_size",
            self.batch_size,
            "at least 1",
        )


@dataclass(frozen=True)
class CompareConfig:
    """Hold VAEs against exact and MCMC inference: one decoder under every inference, and every
    model on the same data.

    Attributes:
        data: digits, mnist, binarized_mnist, freyfaces, olivetti, or the path of an .npz / .npy
            file of images.
        observation: bernoulli (0/1 pixels) or gaussian (dequantized grey levels in (0, 1)).
        models: core (VAEs beside exact models of the observation), all, or some of vae, iwae,
            deep_latent, deep_latent_seconds (trained as long as the VAE), bayesian_decoder, gan,
            made, pixelcnn, transformer, mixture; with bernoulli hmm; with gaussian linear_vae,
            ppca, factor_analysis, mixture_of_factor_analysers.
        seeds: training seeds per model; with several the table shows their spread.
        data_dir: folder of the data sets; what it lacks is in VAE_JAX_DATA, or a cache.
        data_seed: of the 70/10/20 split and of the dequantization noise.
        latent_dim: of the models of the table.
        train: the training loop.
        budget: what each inference may spend.
    """

    data: str = "digits"
    observation: Track = "bernoulli"
    models: tuple[str, ...] = ("core",)
    seeds: int = 1
    data_dir: str | None = None
    data_seed: int = 0
    latent_dim: int = 16
    train: TrainConfig = TrainConfig()
    budget: InferenceBudget = InferenceBudget()

    def __post_init__(self):
        check(self.seeds >= 1, "seeds", self.seeds, "at least 1")
        check(self.latent_dim >= 1, "latent_dim", self.latent_dim, "at least 1")
        check(bool(self.models), "models", self.models, "core, all, or names of models")

    @property
    def data_config(self) -> DataConfig:
        """The data as the loaders want it."""
        return DataConfig(self.data, self.observation, self.data_dir, self.data_seed)
