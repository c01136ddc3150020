"""The one table of systems; each row is imported on use, so that `--help` stays quick."""

import importlib
from typing import Any

from vae_jax import configs

SYSTEMS = {
    "vae": (configs.VAEConfig, "vae_jax.systems.vae:build_vae"),
    "iwae": (configs.IWAEConfig, "vae_jax.systems.vae:build_vae"),
    "autoregressive": (
        configs.AutoregressiveConfig,
        "vae_jax.systems.autoregressive:build_autoregressive",
    ),
    "bayesian_decoder": (
        configs.BayesianDecoderConfig,
        "vae_jax.systems.bayesian_decoder:build_bayesian_decoder",
    ),
    "deep_latent": (
        configs.DeepLatentConfig,
        "vae_jax.systems.deep_latent:build_deep_latent",
    ),
    "gan": (configs.GANConfig, "vae_jax.systems.gan:build_gan"),
    "linear_vae": (configs.LinearVAEConfig, "vae_jax.systems.vae:build_linear_vae"),
    "ppca": (configs.PPCAConfig, "vae_jax.systems.exact:build_ppca"),
    "factor_analysis": (
        configs.FactorAnalysisConfig,
        "vae_jax.systems.exact:build_factor_analysis",
    ),
    "hmm": (configs.HMMConfig, "vae_jax.systems.exact:build_hmm"),
    "mixture": (configs.MixtureConfig, "vae_jax.systems.exact:build_mixture"),
    "mixture_of_factor_analysers": (
        configs.MixtureOfFactorAnalysersConfig,
        "vae_jax.systems.exact:build_mixture_of_factor_analysers",
    ),
}
"""name -> (config, "module:builder"); a builder is `(config, spec: ObservationSpec) -> System`."""


def build(name: str, config: Any, spec: configs.ObservationSpec) -> Any:
    """Build the system of one row of `SYSTEMS`.

    Args:
        name: a key of `SYSTEMS`.
        config: of the row's class.
        spec: the observation.

    Returns:
        A `System`; equal arguments return the same object.

    Raises:
        InputError: the name is unknown, or the config belongs to another system.
    """
    from bayes_jax.errors import InputError

    if name not in SYSTEMS:
        raise InputError(f"system is {name!r}: expected one of {', '.join(SYSTEMS)}")
    config_class, target = SYSTEMS[name]
    if type(config) is not config_class:
        raise InputError(
            f"the config of {name} is a {type(config).__name__}: expected {config_class.__name__}"
        )
    module, builder = target.split(":")
    return getattr(importlib.import_module(module), builder)(config, spec)
