"""Every frozen config, validated where it is made. Standard library only: `--help` needs no jax.

Configs are hashable, cross no `jit` and never enter the mathematics: builders read them once.
"""

from vae_jax.configs.autoregressive import AutoregressiveConfig, CausalName
from vae_jax.configs.bayesian_decoder import (
    BayesianDecoderConfig,
    WeightPosteriorConfig,
    WeightPosteriorName,
)
from vae_jax.configs.checks import ConfigError
from vae_jax.configs.comparison import CompareConfig, InferenceBudget
from vae_jax.configs.data import REPRESENTATIONS, DataConfig, Head, ObservationSpec, Track
from vae_jax.configs.deep_latent import DeepLatentConfig
from vae_jax.configs.distributed import DistributedConfig
from vae_jax.configs.exact import (
    FactorAnalysisConfig,
    HMMConfig,
    LinearVAEConfig,
    MixtureConfig,
    MixtureOfFactorAnalysersConfig,
    NGramConfig,
    PPCAConfig,
    TextHMMConfig,
)
from vae_jax.configs.gan import Adversary, GANConfig
from vae_jax.configs.language import (
    LanguageModelConfig,
    SequenceConfig,
    SequenceName,
    TextVAEConfig,
)
from vae_jax.configs.text import TextConfig, TextSpec, TokenUnit
from vae_jax.configs.training import OptimizerConfig, TextTrainConfig, TrainConfig
from vae_jax.configs.vae import (
    ComputeDtype,
    IWAEConfig,
    NetworkConfig,
    NetworkName,
    Objective,
    ObjectiveConfig,
    PosteriorConfig,
    PosteriorName,
    PriorConfig,
    PriorName,
    VAEConfig,
)

__all__ = [
    "REPRESENTATIONS",
    "Adversary",
    "AutoregressiveConfig",
    "BayesianDecoderConfig",
    "CausalName",
    "CompareConfig",
    "ComputeDtype",
    "ConfigError",
    "DataConfig",
    "DeepLatentConfig",
    "DistributedConfig",
    "FactorAnalysisConfig",
    "GANConfig",
    "HMMConfig",
    "Head",
    "IWAEConfig",
    "InferenceBudget",
    "LanguageModelConfig",
    "LinearVAEConfig",
    "MixtureConfig",
    "MixtureOfFactorAnalysersConfig",
    "NGramConfig",
    "NetworkConfig",
    "NetworkName",
    "Objective",
    "ObjectiveConfig",
    "ObservationSpec",
    "OptimizerConfig",
    "PPCAConfig",
    "PosteriorConfig",
    "PosteriorName",
    "PriorConfig",
    "PriorName",
    "SequenceConfig",
    "SequenceName",
    "TextConfig",
    "TextHMMConfig",
    "TextSpec",
    "TextTrainConfig",
    "TextVAEConfig",
    "TokenUnit",
    "Track",
    "TrainConfig",
    "VAEConfig",
    "WeightPosteriorConfig",
    "WeightPosteriorName",
]
