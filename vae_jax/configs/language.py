"""Models that write one token after the other."""

from dataclasses import dataclass
from typing import Literal

from vae_jax.configs.checks import check, check_name
from vae_jax.configs.training import OptimizerConfig
from vae_jax.configs.vae import ObjectiveConfig, PosteriorConfig

SequenceName = Literal["gru", "transformer"]


@dataclass(frozen=True)
class SequenceConfig:
    """A network that reads tokens in order.

    Attributes:
        network: gru (recurrent), transformer (attention).
        width: of the embeddings and of every layer.
        num_layers: of the network.
        num_heads: of transformer.
        dropout_rate: of features in training; those that are kept are scaled up.
    """

    network: SequenceName = "gru"
    width: int = 128
    num_layers: int = 1
    num_heads: int = 4
    dropout_rate: float = 0.3

    def __post_init__(self):
        check_name(self.network, SequenceName, "network")
        for field in ("width", "num_layers", "num_heads"):
            check(getattr(self, field) >= 1, field, getattr(self, field), "at least 1")
        check(
            self.network != "transformer" or self.width % self.num_heads == 0,
            "width",
            self.width,
            f"a multiple of num_heads ({self.num_heads})",
        )
        check(0 <= self.dropout_rate < 1, "dropout_rate", self.dropout_rate, "from 0 to below 1")


@dataclass(frozen=True)
class LanguageModelConfig:
    """p(sentence) as a product over tokens, each given those before it: exact log p.

    Attributes:
        network: that reads the tokens.
        optimizer: clipping and averaging.
    """

    network: SequenceConfig = SequenceConfig()
    optimizer: OptimizerConfig = OptimizerConfig(clip_norm=1.0, average_decay=0.98)


@dataclass(frozen=True)
class TextVAEConfig:
    """A latent of the whole sentence, and a decoder that is a language model given it.

    Three ways to keep the decoder from doing without z (Bowman et al. 2016, arXiv 1511.06349): a
    floor of the KL (objective free_bits), a KL that is weighted up (beta with num_warmup_steps),
    and words dropped from what the decoder reads.

    Attributes:
        latent_dim: L, the number of latent dimensions.
        encoder: reads the sentence.
        decoder: writes it.
        word_dropout_rate: of the tokens that the decoder reads in training.
        objective: what it maximises.
        posterior: the family of q(z | x); p(z) is a standard normal.
        optimizer: clipping and averaging.
    """

    latent_dim: int = 8
    encoder: SequenceConfig = SequenceConfig()
    decoder: SequenceConfig = SequenceConfig()
    word_dropout_rate: float = 0.0
    objective: ObjectiveConfig = ObjectiveConfig("free_bits", free_nats=0.5)
    posterior: PosteriorConfig = PosteriorConfig()
    optimizer: OptimizerConfig = OptimizerConfig(clip_norm=1.0, average_decay=0.98)

    def __post_init__(self):
        check(self.latent_dim >= 1, "latent_dim", self.latent_dim, "at least 1")
        rate = self.word_dropout_rate
        check(0 <= rate < 1, "word_dropout_rate", rate, "from 0 to below 1")
        check(
            self.objective.name not in ("free_bits", "capacity")
            or self.posterior.name == "mean_field",
            "objective",
            self.objective.name,
            "a mean_field posterior beside it, whose KL is exact",
        )
