"""Models that draw one pixel after the other."""

from dataclasses import dataclass
from typing import Literal

from vae_jax.configs.checks import check, check_name
from vae_jax.configs.training import OptimizerConfig

CausalName = Literal["made", "pixelcnn", "transformer"]


@dataclass(frozen=True)
class AutoregressiveConfig:
    """p(x) as a product over pixels in raster order, each given those before it: exact log p(x).

    Attributes:
        network: made (masked dense layers), pixelcnn (gated convolutions), transformer.
        hidden_dims: widths of made's hidden layers.
        channels: of each layer of pixelcnn; width of transformer.
        num_layers: of pixelcnn and transformer.
        num_heads: of transformer.
        optimizer: clipping and averaging.
    """

    network: CausalName = "made"
    hidden_dims: tuple[int, ...] = (512, 512)
    channels: int = 32
    num_layers: int = 5
    num_heads: int = 4
    optimizer: OptimizerConfig = OptimizerConfig()

    def __post_init__(self):
        check_name(self.network, CausalName, "network")
        is_wide = bool(self.hidden_dims) and all(width >= 1 for width in self.hidden_dims)
        check(is_wide, "hidden_dims", self.hidden_dims, "positive widths, one at least")
        for field in ("channels", "num_layers", "num_heads"):
            check(getattr(self, field) >= 1, field, getattr(self, field), "at least 1")
        check(
            self.network != "transformer" or self.channels % self.num_heads == 0,
            "channels",
            self.channels,
            f"a multiple of num_heads ({self.num_heads})",
        )
