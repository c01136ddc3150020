"""Models that write one token after the other."""

from dataclasses import dataclass
from typing import Literal

from vae_jax.configs.checks import check, check_name
from vae_jax.configs.training import OptimizerConfig

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
    optimizer: OptimizerConfig = OptimizerConfig(clip_norm=1.0)
