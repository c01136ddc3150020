"""Published results on static binarized MNIST, and the settings that shall give them here."""

from dataclasses import dataclass

from vae_jax.configs import (
    AutoregressiveConfig,
    NetworkConfig,
    ObjectiveConfig,
    PriorConfig,
    TrainConfig,
    VAEConfig,
)

DATA = "binarized_mnist"


@dataclass(frozen=True)
class Reproduction:
    """One published number.

    Attributes:
        title: as a person reads it.
        source: where it was published.
        published: negative log p(x) in nats per test image, by `num_samples`.
        num_samples: importance samples behind it; 1 is the negative ELBO, the papers' test loss; 0
            where p(x) is exact.
        config: of the system.
        train: the loop; without early stop where its patience equals its epochs.
        remark: what is not as published.
    """

    title: str
    source: str
    published: float
    num_samples: int
    config: VAEConfig | AutoregressiveConfig
    train: TrainConfig
    remark: str = ""
    system: str = "vae"


def _burda(objective: ObjectiveConfig, published: float, title: str) -> Reproduction:
    """784-200-200-50, tanh, batches of 20, the staged schedule, shortened to a tenth."""
    num_epochs = 328
    return Reproduction(
        title,
        "Burda, Grosse, Salakhutdinov 2016, fixed binarization",
        published,
        5000,
        VAEConfig(50, (200, 200), objective, network=NetworkConfig(activation="tanh")),
        TrainConfig(num_epochs, 20, patience=num_epochs, schedule="staged"),
        "328 epochs instead of 3280, initial params of Flax, Adam's usual epsilon",
    )


REPRODUCTIONS = {
    "flax": Reproduction(
        "Flax's VAE example, epoch 10",
        "Flax examples/vae",
        103.6,
        1,
        VAEConfig(20, (500,)),
        TrainConfig(10, 128, patience=10),
    ),
    "altosaar": Reproduction(
        "Altosaar's VAE, KL warm-up",
        "Altosaar, variational-autoencoder",
        97.1,
        128,
        VAEConfig(128, (256, 256), ObjectiveConfig("beta", num_warmup_steps=20_000)),
        TrainConfig(166, 128, patience=166),
        # From the start with its whole weight, the KL held all 128 units idle for 57 epochs.
        "Adam, 166 epochs; the weight of the KL rises over 20,000 steps",
    ),
    "vae_1": _burda(ObjectiveConfig(), 88.71, "VAE, k = 1"),
    "vae_5": _burda(ObjectiveConfig(num_samples=5), 88.83, "VAE, k = 5"),
    "vae_50": _burda(ObjectiveConfig(num_samples=50), 89.05, "VAE, k = 50"),
    "iwae_5": _burda(ObjectiveConfig("iwae", num_samples=5), 87.63, "IWAE, k = 5"),
    "iwae_50": _burda(ObjectiveConfig("iwae", num_samples=50), 87.10, "IWAE, k = 50"),
    "vamp": Reproduction(
        "VAE with a VampPrior of 500",
        "Tomczak, Welling 2018, table 1",
        85.57,
        5000,
        VAEConfig(40, (300, 300), prior=PriorConfig("vamp", num_components=500)),
        TrainConfig(400, 100, 5e-4, patience=50),
        "ReLU instead of gated layers, Adam, at most 400 epochs, no KL warm-up",
    ),
    "made": Reproduction(
        "MADE, one mask",
        "Germain, Gregor, Murray, Larochelle 2015, table 6",
        88.40,
        0,
        AutoregressiveConfig("made", (2000,)),
        TrainConfig(100, 100, 3e-4, patience=10),
        "2,000 hidden units, Adam, raster order",
        "autoregressive",
    ),
    "pixelcnn": Reproduction(
        "PixelCNN",
        "van den Oord, Kalchbrenner, Kavukcuoglu 2016, table 4",
        81.30,
        0,
        AutoregressiveConfig("pixelcnn", channels=32, num_layers=6),
        TrainConfig(3, 50, patience=3, schedule="cosine"),
        "gated convolutions, 6 layers of 32 channels, 3 epochs",
        "autoregressive",
    ),
}
"""name -> what `scripts/reproduce.py` trains and scores."""
