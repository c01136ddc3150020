"""The one table of systems; each row is imported on use, so that `--help` stays quick."""

import importlib
from typing import Any, NamedTuple

from vae_jax import configs


class Row(NamedTuple):
    """One system.

    Attributes:
        config: its class.
        builder: "module:function", the function `(config, spec) -> System`.
        data: the class of the config of the data it sees: images, or text.
        train: that of the config of its loop.
    """

    config: type
    builder: str
    data: type = configs.DataConfig
    train: type = configs.TrainConfig


_OF_TEXT = configs.TextConfig, configs.TextTrainConfig
_SPECS = {configs.DataConfig: configs.ObservationSpec, configs.TextConfig: configs.TextSpec}

SYSTEMS = {
    "vae": Row(configs.VAEConfig, "vae_jax.systems.vae:build_vae"),
    "iwae": Row(configs.IWAEConfig, "vae_jax.systems.vae:build_vae"),
    "autoregressive": Row(
        configs.AutoregressiveConfig,
        "vae_jax.systems.autoregressive:build_autoregressive",
    ),
    "bayesian_decoder": Row(
        configs.BayesianDecoderConfig,
        "vae_jax.systems.bayesian_decoder:build_bayesian_decoder",
    ),
    "deep_latent": Row(
        configs.DeepLatentConfig,
        "vae_jax.systems.deep_latent:build_deep_latent",
    ),
    "gan": Row(configs.GANConfig, "vae_jax.systems.gan:build_gan"),
    "linear_vae": Row(configs.LinearVAEConfig, "vae_jax.systems.vae:build_linear_vae"),
    "ppca": Row(configs.PPCAConfig, "vae_jax.systems.exact:build_ppca"),
    "factor_analysis": Row(
        configs.FactorAnalysisConfig,
        "vae_jax.systems.exact:build_factor_analysis",
    ),
    "hmm": Row(configs.HMMConfig, "vae_jax.systems.exact:build_hmm"),
    "mixture": Row(configs.MixtureConfig, "vae_jax.systems.exact:build_mixture"),
    "mixture_of_factor_analysers": Row(
        configs.MixtureOfFactorAnalysersConfig,
        "vae_jax.systems.exact:build_mixture_of_factor_analysers",
    ),
    "language_model": Row(
        configs.LanguageModelConfig, "vae_jax.systems.text:build_language_model", *_OF_TEXT
    ),
    "text_vae": Row(configs.TextVAEConfig, "vae_jax.systems.text:build_text_vae", *_OF_TEXT),
    "text_hmm": Row(configs.TextHMMConfig, "vae_jax.systems.exact_text:build_text_hmm", *_OF_TEXT),
    "ngram": Row(configs.NGramConfig, "vae_jax.systems.exact_text:build_ngram", *_OF_TEXT),
}
"""name -> row."""


def build(name: str, config: Any, spec: configs.ObservationSpec | configs.TextSpec) -> Any:
    """Build the system of one row of `SYSTEMS`.

    Args:
        name: a key of `SYSTEMS`.
        config: of the row's class.
        spec: one observation of the row's kind of data.

    Returns:
        A `System`; equal arguments return the same object.

    Raises:
        InputError: the name is unknown, the config belongs to another system, or the spec to
            another kind of data.
    """
    from bayes_jax.errors import InputError

    if name not in SYSTEMS:
        raise InputError(f"system is {name!r}: expected one of {', '.join(SYSTEMS)}")
    row = SYSTEMS[name]
    if type(config) is not row.config:
        raise InputError(
            f"the config of {name} is a {type(config).__name__}: expected {row.config.__name__}"
        )
    if type(spec) is not _SPECS[row.data]:
        raise InputError(f"{name} on a {type(spec).__name__}: expected {_SPECS[row.data].__name__}")
    module, builder = row.builder.split(":")
    return getattr(importlib.import_module(module), builder)(config, spec)
