"""Every frozen config, validated where it is made. Standard library only: `--help` needs no jax.

Configs are hashable, cross no `jit` and never enter the mathematics: builders read them once.
"""

from dataclasses import dataclass
from typing import Literal

Head = Literal["bernoulli", "gaussian"]


class ConfigError(ValueError):
    """A config that cannot be: one line naming the field, its value and what was expected.

    Scripts show that line and no traceback, as they do for `bayes_jax.InputError`.
    """


def _check(condition: bool, field: str, value: object, expected: str) -> None:
    if not condition:
        raise ConfigError(f"{field} is {value!r}: expected {expected}")


@dataclass(frozen=True)
class DataConfig:
    """Which images, seen as what.

    Attributes:
        name: digits, mnist, binarized_mnist, or the path of an .npz / .npy file of images.
        observation: bernoulli (0/1 pixels) or gaussian (dequantized grey levels in (0, 1)).
        data_dir: folder of the data sets; VAE_JAX_DATA, then a cache, if unset.
        seed: of the 70/10/20 split and of the dequantization noise.
    """

    name: str = "digits"
    observation: Head = "bernoulli"
    data_dir: str | None = None
    seed: int = 0

    def __post_init__(self):
        _check(bool(self.name), "name", self.name, "a data set or a path")
        _check(
            self.observation in ("bernoulli", "gaussian"),
            "observation",
            self.observation,
            "bernoulli or gaussian",
        )
        _check(self.seed >= 0, "seed", self.seed, "at least 0")


@dataclass(frozen=True)
class ObservationSpec:
    """What a system must know about one observation x.

    Attributes:
        dim: number of pixels; x has shape `[dim]`.
        head: the observation model p(x | z) that fits the data.
        min_variance: floor of every Gaussian variance, one for all models of a comparison.
    """

    dim: int
    head: Head
    min_variance: float = 1e-4

    def __post_init__(self):
        _check(self.dim >= 1, "dim", self.dim, "at least 1")
        _check(self.head in ("bernoulli", "gaussian"), "head", self.head, "bernoulli or gaussian")
        _check(self.min_variance > 0, "min_variance", self.min_variance, "a positive number")


@dataclass(frozen=True)
class TrainConfig:
    """The one training loop.

    Attributes:
        num_epochs: most epochs to train.
        batch_size: examples per step.
        learning_rate: of Adam.
        patience: stop after so many epochs without a better validation value; the best is kept.
        seed: of initialisation, shuffling and noise.
    """

    num_epochs: int = 1000
    batch_size: int = 128
    learning_rate: float = 1e-3
    patience: int = 50
    seed: int = 0

    def __post_init__(self):
        for field in ("num_epochs", "batch_size", "patience"):
            _check(getattr(self, field) >= 1, field, getattr(self, field), "at least 1")
        _check(self.learning_rate > 0, "learning_rate", self.learning_rate, "a positive number")
        _check(self.seed >= 0, "seed", self.seed, "at least 0")


@dataclass(frozen=True)
class VAEConfig:
    """The seed VAE: encoder x-512-256-2L, ReLU, decoder L-256-512-x, trained on the ELBO.

    Attributes:
        latent_dim: L, the number of latent dimensions.
        hidden_dims: widths of the encoder's hidden layers; the decoder has them reversed.
    """

    latent_dim: int = 16
    hidden_dims: tuple[int, ...] = (512, 256)

    def __post_init__(self):
        _check(self.latent_dim >= 1, "latent_dim", self.latent_dim, "at least 1")
        _check(
            all(width >= 1 for width in self.hidden_dims),
            "hidden_dims",
            self.hidden_dims,
            "positive widths",
        )


@dataclass(frozen=True)
class IWAEConfig(VAEConfig):
    """The same networks trained on the importance-weighted bound (arXiv 1509.00519).

    Attributes:
        num_importance_samples: K of the bound.
    """

    num_importance_samples: int = 5

    def __post_init__(self):
        super().__post_init__()
        _check(
            self.num_importance_samples >= 1,
            "num_importance_samples",
            self.num_importance_samples,
            "at least 1",
        )


@dataclass(frozen=True)
class LinearVAEConfig:
    """Linear encoder and decoder, one shared noise scale: its optimum is PPCA (arXiv 1911.02469).

    Attributes:
        latent_dim: number of latent dimensions.
    """

    latent_dim: int = 16

    def __post_init__(self):
        _check(self.latent_dim >= 1, "latent_dim", self.latent_dim, "at least 1")


@dataclass(frozen=True)
class PPCAConfig:
    """Probabilistic PCA in closed form.

    Attributes:
        latent_dim: number of latent dimensions.
    """

    latent_dim: int = 16

    def __post_init__(self):
        _check(self.latent_dim >= 1, "latent_dim", self.latent_dim, "at least 1")


@dataclass(frozen=True)
class FactorAnalysisConfig(PPCAConfig):
    """Factor analysis (one noise variance per pixel) by EM.

    Attributes:
        latent_dim: number of latent dimensions.
    """


@dataclass(frozen=True)
class MixtureConfig:
    """A Bernoulli or Gaussian mixture, as the data ask, by EM.

    Attributes:
        num_components: number of mixture components.
    """

    num_components: int = 10

    def __post_init__(self):
        _check(self.num_components >= 1, "num_components", self.num_components, "at least 1")


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
            _check(getattr(self, field) >= 2, field, getattr(self, field), "at least 2")
        _check(
            self.num_simulations == 0 or self.num_simulations >= 2,
            "num_simulations",
            self.num_simulations,
            "0, or at least 2",
        )
        _check(
            self.num_posteriors <= self.num_images,
            "num_posteriors",
            self.num_posteriors,
            f"at most num_images ({self.num_images})",
        )
        _check(
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
        data: digits, mnist, binarized_mnist, or the path of an .npz / .npy file of images.
        observation: bernoulli (0/1 pixels) or gaussian (dequantized grey levels in (0, 1)).
        models: all, or some of the track's (bernoulli: vae iwae mixture; gaussian: vae linear_vae
            ppca factor_analysis mixture).
        seeds: training seeds per model; with several the table shows their spread.
        data_dir: folder of the data sets; VAE_JAX_DATA, then a cache, if unset.
        data_seed: of the 70/10/20 split and of the dequantization noise.
        latent_dim: of the models of the table.
        train: the training loop.
        budget: what each inference may spend.
    """

    data: str = "digits"
    observation: Head = "bernoulli"
    models: tuple[str, ...] = ("all",)
    seeds: int = 1
    data_dir: str | None = None
    data_seed: int = 0
    latent_dim: int = 16
    train: TrainConfig = TrainConfig()
    budget: InferenceBudget = InferenceBudget()

    def __post_init__(self):
        _check(self.seeds >= 1, "seeds", self.seeds, "at least 1")
        _check(self.latent_dim >= 1, "latent_dim", self.latent_dim, "at least 1")
        _check(bool(self.models), "models", self.models, "all, or names of models")

    @property
    def data_config(self) -> DataConfig:
        """The data as the loaders want it."""
        return DataConfig(self.data, self.observation, self.data_dir, self.data_seed)
