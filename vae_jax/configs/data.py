"""Which data, and how a model sees them."""

import math
from dataclasses import dataclass
from typing import Literal

from vae_jax.configs.checks import check, check_name

Representation = Literal["bits", "unit", "levels", "counts"]
Track = Literal["bernoulli", "gaussian"]
Noise = Literal["fixed", "fresh"]
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


NUM_COMPONENTS, FIXED_SCALE = 5, 0.1
_OWNERS = {
    "num_components": ("logistic_mixture", NUM_COMPONENTS),
    "fixed_scale": ("gaussian_fixed", FIXED_SCALE),
}


def _check_options(config) -> None:
    """Of the heads that have some."""
    check(config.num_components >= 1, "num_components", config.num_components, "at least 1")
    check(config.fixed_scale > 0, "fixed_scale", config.fixed_scale, "a positive number")


def _check_head(field: str, head: str) -> None:
    check(head in REPRESENTATIONS, field, head, f"one of {', '.join(REPRESENTATIONS)}")


@dataclass(frozen=True)
class DataConfig:
    """Which images, seen as what.

    Attributes:
        name: digits, mnist, binarized_mnist, freyfaces, olivetti, or the path of an .npz, .npy
            or IDX file of images.
        observation: the head, and with it how pixels are seen: bernoulli (0/1), gaussian,
            gaussian_shared, gaussian_fixed, continuous_bernoulli (dequantized to (0, 1)),
            discretized_logistic, logistic_mixture, categorical (whole levels), poisson,
            negative_binomial (counts).
        data_dir: folder of the data sets; what it lacks is in VAE_JAX_DATA, or a cache.
        seed: of the 70/10/20 split (of images; freyfaces: stretches of the film; olivetti: people)
            and of the noise.
        noise: fixed (bits by a threshold at half the levels, pixels dequantized once), or fresh:
            each training step draws its bits or its dequantization anew.
        num_components: of each pixel's logistic_mixture.
        fixed_scale: of gaussian_fixed.
        held_out_label: a class whose images no model is trained or tested on, kept apart for
            anomaly detection; none if unset.
        mirrored: training images are seen mirrored too, left and right: twice as many. Validation
            and test images stay as they are.
    """

    name: str = "digits"
    observation: Head = "bernoulli"
    data_dir: str | None = None
    seed: int = 0
    noise: Noise = "fixed"
    num_components: int = NUM_COMPONENTS
    fixed_scale: float = FIXED_SCALE
    held_out_label: int | None = None
    mirrored: bool = False

    def __post_init__(self):
        check(bool(self.name), "name", self.name, "a data set or a path")
        _check_head("observation", self.observation)
        check_name(self.noise, Noise, "noise")
        check(
            self.noise == "fixed" or REPRESENTATIONS[self.observation] in ("bits", "unit"),
            "noise",
            self.noise,
            f"fixed, for {self.observation} sees levels as they are stored",
        )
        check(self.seed >= 0, "seed", self.seed, "at least 0")
        _check_options(self)
        for field, (head, default) in _OWNERS.items():
            check(
                self.observation == head or getattr(self, field) == default,
                field,
                getattr(self, field),
                f"observation {head}, not {self.observation}",
            )


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
    num_components: int = NUM_COMPONENTS
    fixed_scale: float = FIXED_SCALE
    image_shape: tuple[int, int] | None = None

    def __post_init__(self):
        check(self.dim >= 1, "dim", self.dim, "at least 1")
        _check_head("head", self.head)
        check(self.min_variance > 0, "min_variance", self.min_variance, "a positive number")
        check(self.num_levels >= 2, "num_levels", self.num_levels, "at least 2")
        _check_options(self)
        check(
            self.image_shape is None or math.prod(self.image_shape) == self.dim,
            "image_shape",
            self.image_shape,
            f"{self.dim} pixels",
        )

    @property
    def event_shape(self) -> tuple[int]:
        """Of one x."""
        return (self.dim,)

    @property
    def representation(self) -> Representation:
        """How its pixels are seen."""
        return REPRESENTATIONS[self.head]

    @property
    def white(self) -> float:
        """The brightest pixel."""
        return 1.0 if self.representation in ("bits", "unit") else self.num_levels - 1.0
