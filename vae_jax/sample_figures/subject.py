"""Whose pictures are drawn."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Num

from bayes_jax.errors import InputError
from bayes_jax.model import GenerativeModel, Guide, LatentModel
from vae_jax import latent_images
from vae_jax.configs import ObservationSpec


class Subject(NamedTuple):
    """A fitted model, and how its observations become images.

    Attributes:
        generative: the model.
        name: what to call it.
        shape: (height, width).
        white: what is drawn white, see `brightest`.
    """

    generative: GenerativeModel
    name: str
    shape: tuple[int, ...]
    white: float = 1.0

    @property
    def latent(self) -> LatentModel:
        """p(z) p(x | z).

        Raises:
            InputError: there is none.
        """
        if self.generative.latent is None:
            raise InputError(f"{self.name} has no continuous latent")
        return self.generative.latent

    @property
    def encoder(self) -> Guide:
        """ONE x -> q(z | x) or p(z | x).

        Raises:
            InputError: there is none.
        """
        guide = latent_images.encoder(self.generative)
        if self.latent and guide is None:
            raise InputError(f"{self.name} has no encoder")
        return guide

    def images(self, x: Num[Array | np.ndarray, "image dim"]) -> np.ndarray:
        """Observations, or means of pixels, as images."""
        return latent_images.to_images(x, self.shape, white=self.white)


def brightest(x: Num[np.ndarray, "image dim"], spec: ObservationSpec) -> float:
    """What is drawn white: the spec's, and of counts, which have no end, what 1 % lie above."""
    if spec.representation != "counts" or not np.any(x):
        return spec.white
    return float(np.quantile(x[x > 0], 0.99))


def spread(x: Num[np.ndarray, "image dim"], num: int) -> Num[np.ndarray, "chosen dim"]:
    """So many of the images at most, evenly spread: neighbours in a data set may be alike."""
    return x[np.arange(min(num, len(x))) * len(x) // min(num, len(x))]
