"""Every frozen config, validated where it is made. Standard library only: `--help` needs no jax.

Configs are hashable, cross no `jit` and never enter the mathematics: builders read them once.
"""

import math
from dataclasses import dataclass, fields
from typing import Literal, get_args

Representation = Literal["bits", "unit", "levels", "counts"]
Track = Literal["bernoulli", "gaussian"]
Head = Literal[
    "bernoulli",
    "continuous_bernoulli",
    "gaussian",
    "gaussian_shared",
    "gaussian_fixed",
    "discretized_logistic",
    "logistic_mixture",
    "categorical",
    "poisson",
    "negative_binomial",
]

Noise = Literal["fixed", "fresh"]
NetworkName = Literal["mlp", "conv", "residual"]
ComputeDtype = Literal["float32", "bfloat16"]
Activation = Literal["relu", "tanh"]
PosteriorName = Literal["mean_field", "full_rank", "planar", "coupling", "iaf"]
PriorName = Literal["standard_normal", "mixture", "vamp", "flow"]
Schedule = Literal["constant", "cosine", "staged"]
Objective = Literal["elbo", "iwae", "stl", "dreg", "beta", "free_bits", "capacity"]

REPRESENTATIONS: dict[Head, Representation] = {
    "bernoulli": "bits",
    "continuous_bernoulli": "unit",
    "gaussian": "unit",
    "gaussian_shared": "unit",
    "gaussian_fixed": "unit",
    "discretized_logistic": "levels",
    "logistic_mixture": "levels",
    "categorical": "levels",
    "poisson": "counts",
    "negative_binomial": "counts",
}
"""head -> how its pixels are seen: 0/1, dequantized to (0, 1), whole levels, counts."""


class ConfigError(ValueError):
    """A config that cannot be: one line naming the field, its value and what was expected.

    Scripts show that line and no traceback, as they do for `bayes_jax.InputError`.
    """


def _check(condition: bool, field: str, value: object, expected: str) -> None:
    if not condition:
        raise ConfigError(f"{field} is {value!r}: expected {expected}")


def _check_name(name: str, choices: object, field: str = "name") -> None:
    names = get_args(choices)
    _check(name in names, field, name, f"one of {', '.join(names)}")


def _check_head(field: str, head: str) -> None:
    _check(head in REPRESENTATIONS, field, head, f"one of {', '.join(REPRESENTATIONS)}")


@dataclass(frozen=True)
class DataConfig:
    """Which images, seen as what.

    Attributes:
        name: digits, mnist, binarized_mnist, or the path of an .npz / .npy file of images.
        observation: the head, and with it how pixels are seen: bernoulli (0/1), gaussian,
            gaussian_shared, gaussian_fixed, continuous_bernoulli (dequantized to (0, 1)),
            discretized_logistic, logistic_mixture, categorical (whole levels), poisson,
            negative_binomial (counts).
        data_dir: folder of the data sets; VAE_JAX_DATA, then a cache, if unset.
        seed: of the 70/10/20 split and of the noise.
        noise: fixed (bits by a threshold at half the levels, pixels dequantized once), or fresh:
            each training step draws its bits or its dequantization anew.
    """

    name: str = "digits"
    observation: Head = "bernoulli"
    data_dir: str | None = None
    seed: int = 0
    noise: Noise = "fixed"

    def __post_init__(self):
        _check(bool(self.name), "name", self.name, "a data set or a path")
        _check_head("observation", self.observation)
        _check_name(self.noise, Noise, "noise")
        _check(
            self.noise == "fixed" or REPRESENTATIONS[self.observation] in ("bits", "unit"),
            "noise",
            self.noise,
            f"fixed, for {self.observation} sees levels as they are stored",
        )
        _check(self.seed >= 0, "seed", self.seed, "at least 0")


@dataclass(frozen=True)
class ObservationSpec:
    """What a system must know about one observation x.

    Attributes:
        dim: number of pixels; x has shape `[dim]`.
        head: the observation model p(x | z) that fits the data.
        min_variance: floor of every Gaussian variance, one for all models of a comparison.
        num_levels: grey levels of the source; those of a head of levels.
        num_components: of each pixel's logistic_mixture.
        fixed_scale: of gaussian_fixed.
        image_shape: (height, width) where x is an image, row by row.
    """

    dim: int
    head: Head
    min_variance: float = 1e-4
    num_levels: int = 256
    num_components: int = 5
    fixed_scale: float = 0.1
    image_shape: tuple[int, int] | None = None

    def __post_init__(self):
        _check(self.dim >= 1, "dim", self.dim, "at least 1")
        _check_head("head", self.head)
        for field in ("min_variance", "fixed_scale"):
            _check(getattr(self, field) > 0, field, getattr(self, field), "a positive number")
        _check(self.num_levels >= 2, "num_levels", self.num_levels, "at least 2")
        _check(self.num_components >= 1, "num_components", self.num_components, "at least 1")
        _check(
            self.image_shape is None or math.prod(self.image_shape) == self.dim,
            "image_shape",
            self.image_shape,
            f"{self.dim} pixels",
        )

    @property
    def representation(self) -> Representation:
        """How its pixels are seen."""
        return REPRESENTATIONS[self.head]

    @property
    def white(self) -> float:
        """The brightest pixel."""
        return 1.0 if self.representation in ("bits", "unit") else self.num_levels - 1.0


@dataclass(frozen=True)
class TrainConfig:
    """The one training loop.

    Attributes:
        num_epochs: most epochs to train.
        batch_size: examples per step.
        learning_rate: of Adam, in the first epoch.
        patience: stop after so many epochs without a better validation value; the best is kept.
        seed: of initialisation, shuffling and noise.
        schedule: how the rate falls: constant, cosine (to zero), staged (Burda et al. 2016: eight
            stages, each three times as long and 10^(1/7) times slower). It spans num_epochs, also
            where a resumed run has more of them.
        stream_steps: 0 keeps the training data on the device; otherwise they stay on the host, and
            the examples of so many steps are sent at a time, while those before are trained on.
    """

    num_epochs: int = 1000
    batch_size: int = 128
    learning_rate: float = 1e-3
    patience: int = 50
    seed: int = 0
    schedule: Schedule = "constant"
    stream_steps: int = 0

    def __post_init__(self):
        _check_name(self.schedule, Schedule, "schedule")
        for field in ("num_epochs", "batch_size", "patience"):
            _check(getattr(self, field) >= 1, field, getattr(self, field), "at least 1")
        _check(self.learning_rate > 0, "learning_rate", self.learning_rate, "a positive number")
        for field in ("seed", "stream_steps"):
            _check(getattr(self, field) >= 0, field, getattr(self, field), "at least 0")


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
        _check_name(self.name, Objective)
        _check(self.num_samples >= 1, "num_samples", self.num_samples, "at least 1")
        for field in ("beta", "free_nats", "capacity", "weight", "num_warmup_steps"):
            _check(getattr(self, field) >= 0, field, getattr(self, field), "at least 0")
        defaults = {field.name: field.default for field in fields(self)}
        for field, owners in _OWNERS.items():
            _check(
                self.name in owners or getattr(self, field) == defaults[field],
                field,
                getattr(self, field),
                f"an objective that has one ({' or '.join(owners)}), not {self.name}",
            )


_OWNERS = {
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
        _check_name(self.name, PosteriorName)
        _check(self.num_layers >= 1, "num_layers", self.num_layers, "at least 1")
        _check(self.hidden_dim >= 1, "hidden_dim", self.hidden_dim, "at least 1")


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
        _check_name(self.name, PriorName)
        for field in ("num_components", "num_layers", "hidden_dim"):
            _check(getattr(self, field) >= 1, field, getattr(self, field), "at least 1")


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
        _check_name(self.name, NetworkName)
        _check_name(self.activation, Activation, "activation")
        _check_name(self.dtype, ComputeDtype, "dtype")
        is_wide = bool(self.channels) and all(width >= 1 for width in self.channels)
        _check(is_wide, "channels", self.channels, "positive numbers, one at least")
        _check(self.top_dim >= 0, "top_dim", self.top_dim, "at least 0")

    @property
    def num_blocks(self) -> int:
        """Residual blocks of each level."""
        return 2 if self.name == "residual" else 0


@dataclass(frozen=True)
class OptimizerConfig:
    """How Adam moves the params; its rate is the loop's.

    Attributes:
        clip_norm: longest gradient of a batch; longer ones are scaled down. As it is if unset.
        average_decay: of the moving average of the params that is evaluated and kept; 0 keeps the
            params themselves.
    """

    clip_norm: float | None = None
    average_decay: float = 0.0

    def __post_init__(self):
        _check(
            self.clip_norm is None or self.clip_norm > 0,
            "clip_norm",
            self.clip_norm,
            "a positive number",
        )
        _check(
            0 <= self.average_decay <= 0.99999,
            "average_decay",
            self.average_decay,
            "from 0 to 0.99999",
        )


@dataclass(frozen=True)
class VAEConfig:
    """The seed VAE: encoder x-512-256-2L, ReLU, decoder L-256-512-x, trained on the ELBO.

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
        _check(self.latent_dim >= 1, "latent_dim", self.latent_dim, "at least 1")
        _check(
            all(width >= 1 for width in self.hidden_dims),
            "hidden_dims",
            self.hidden_dims,
            "positive widths",
        )
        _check(
            self.network.top_dim < self.latent_dim,
            "network.top_dim",
            self.network.top_dim,
            f"less than latent_dim ({self.latent_dim}), of which it is a part",
        )
        _check(
            self.prior.name != "vamp" or self.posterior.name in ("mean_field", "full_rank"),
            "posterior",
            self.posterior.name,
            "mean_field or full_rank under a vamp prior, a mixture of what the encoder makes",
        )
        _check(
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
        _check(self.objective.name in bounds, "objective", self.objective.name, " or ".join(bounds))


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
    observation: Track = "bernoulli"
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
