"""The one table of systems; each row is imported on use, so that `--help` stays quick."""

from vae_jax import configs

SYSTEMS = {
    "vae": (configs.VAEConfig, "vae_jax.systems.vae:build_vae"),
    "iwae": (configs.IWAEConfig, "vae_jax.systems.vae:build_iwae"),
    "linear_vae": (configs.LinearVAEConfig, "vae_jax.systems.vae:build_linear_vae"),
    "ppca": (configs.PPCAConfig, "vae_jax.systems.exact:build_ppca"),
    "factor_analysis": (
        configs.FactorAnalysisConfig,
        "vae_jax.systems.exact:build_factor_analysis",
    ),
    "mixture": (configs.MixtureConfig, "vae_jax.systems.exact:build_mixture"),
}
"""name -> (config, "module:builder"); a builder is `(config, spec: ObservationSpec) -> System`."""
