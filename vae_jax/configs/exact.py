"""Models whose posterior and evidence are known exactly."""

from dataclasses import dataclass

from vae_jax.configs.checks import check


@dataclass(frozen=True)
class LinearVAEConfig:
    """Linear encoder and decoder, one shared noise scale: its optimum is PPCA (arXiv 1911.02469).

    Attributes:
        latent_dim: number of latent dimensions.
    """

    latent_dim: int = 16

    def __post_init__(self):
        check(self.latent_dim >= 1, "latent_dim", self.latent_dim, "at least 1")


@dataclass(frozen=True)
class PPCAConfig:
    """Probabilistic PCA in closed form.

    Attributes:
        latent_dim: number of latent dimensions.
    """

    latent_dim: int = 16

    def __post_init__(self):
        check(self.latent_dim >= 1, "latent_dim", self.latent_dim, "at least 1")


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
        check(self.num_components >= 1, "num_components", self.num_components, "at least 1")


@dataclass(frozen=True)
class MixtureOfFactorAnalysersConfig:
    """A mixture of factor analysers by EM.

    Attributes:
        num_components: number of mixture components.
        latent_dim: number of latent dimensions of each.
    """

    num_components: int = 10
    latent_dim: int = 6

    def __post_init__(self):
        check(self.num_components >= 1, "num_components", self.num_components, "at least 1")
        check(self.latent_dim >= 1, "latent_dim", self.latent_dim, "at least 1")


@dataclass(frozen=True)
class HMMConfig:
    """A hidden Markov model of the rows of an image, bits, by EM.

    Attributes:
        num_states: hidden states.
    """

    num_states: int = 30

    def __post_init__(self):
        check(self.num_states >= 1, "num_states", self.num_states, "at least 1")


@dataclass(frozen=True)
class TextHMMConfig(HMMConfig):
    """A hidden Markov model of sentences, states that emit tokens, by EM.

    Attributes:
        num_states: hidden states.
        num_iterations: most steps of EM.
    """

    num_states: int = 20
    num_iterations: int = 100

    def __post_init__(self):
        super().__post_init__()
        check(self.num_iterations >= 1, "num_iterations", self.num_iterations, "at least 1")


@dataclass(frozen=True)
class NGramConfig:
    """Interpolated modified Kneser-Ney, from counts alone.

    Attributes:
        order: of the longest n-grams, a context and the token after it.
    """

    order: int = 5

    def __post_init__(self):
        check(1 <= self.order <= 5, "order", self.order, "1 to 5")
