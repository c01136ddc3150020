"""Configs refuse what cannot work, name the field, and cost nothing to import."""

import dataclasses
import math
import subprocess
import sys
from functools import partial

import pytest

from vae_jax import configs
from vae_jax.systems import SYSTEMS

SPEC = partial(configs.ObservationSpec, head="gaussian")

BAD = [
    (configs.DataConfig, "name", ""),
    (configs.DataConfig, "seed", -1),
    (configs.DataConfig, "num_components", 3),  # bernoulli pixels have none
    (configs.DataConfig, "fixed_scale", 0.2),
    (partial(configs.DataConfig, observation="logistic_mixture"), "num_components", 0),
    (partial(configs.DataConfig, observation="gaussian_fixed"), "fixed_scale", 0.0),
    (partial(configs.DataConfig, observation="poisson"), "noise", "fresh"),
    (SPEC, "dim", 0),
    (partial(SPEC, dim=4), "min_variance", 0.0),
    (configs.TrainConfig, "num_epochs", 0),
    (configs.TrainConfig, "batch_size", 0),
    (configs.TrainConfig, "learning_rate", 0.0),
    (configs.TrainConfig, "learning_rate", math.inf),
    (configs.TrainConfig, "patience", 0),
    (configs.TrainConfig, "seed", -1),
    (configs.VAEConfig, "latent_dim", 0),
    (configs.VAEConfig, "hidden_dims", (10, 0)),
    (partial(configs.PosteriorConfig, "planar"), "num_layers", 0),
    (partial(configs.PosteriorConfig, "coupling"), "hidden_dim", 0),
    (configs.PosteriorConfig, "num_layers", 2),  # a Gaussian has none
    (partial(configs.PosteriorConfig, "planar"), "hidden_dim", 8),
    (partial(configs.PriorConfig, "vamp"), "num_components", 0),
    (partial(configs.PriorConfig, "flow"), "num_layers", 0),
    (partial(configs.PriorConfig, "flow"), "hidden_dim", 0),
    (configs.PriorConfig, "num_components", 3),
    (partial(configs.PriorConfig, "flow"), "num_components", 3),
    (partial(configs.PriorConfig, "vamp"), "num_layers", 2),
    (configs.IWAEConfig, "latent_dim", 0),
    (partial(SPEC, dim=4), "num_levels", 1),
    (partial(SPEC, dim=4), "num_components", 0),
    (partial(SPEC, dim=4), "fixed_scale", 0.0),
    (configs.ObjectiveConfig, "num_samples", 0),
    (configs.ObjectiveConfig, "beta", 4.0),  # the ELBO has none
    (partial(configs.ObjectiveConfig, "beta"), "beta", math.inf),
    (partial(configs.ObjectiveConfig, "free_bits"), "free_nats", math.nan),
    (partial(configs.ObjectiveConfig, "beta"), "beta", -1.0),
    (partial(configs.ObjectiveConfig, "iwae"), "num_warmup_steps", 10),
    (partial(configs.ObjectiveConfig, "beta"), "free_nats", 1.0),
    (partial(configs.ObjectiveConfig, "free_bits"), "capacity", 1.0),
    (configs.OptimizerConfig, "clip_norm", 0.0),
    (partial(configs.NetworkConfig, "conv"), "channels", ()),
    (configs.NetworkConfig, "channels", (8,)),  # an mlp has none
    (partial(SPEC, dim=4), "image_shape", (3, 2)),
    (configs.OptimizerConfig, "average_decay", 1.0),
    (configs.AutoregressiveConfig, "hidden_dims", ()),
    (configs.AutoregressiveConfig, "num_layers", 0),
    (partial(configs.AutoregressiveConfig, "transformer"), "channels", 30),
    (configs.LinearVAEConfig, "latent_dim", 0),
    (configs.PPCAConfig, "latent_dim", 0),
    (configs.FactorAnalysisConfig, "latent_dim", 0),
    (configs.HMMConfig, "num_states", 0),
    (configs.MixtureConfig, "num_components", 0),
    (configs.GANConfig, "latent_dim", 0),
    (configs.GANConfig, "penalty", -1.0),
    (configs.GANConfig, "num_critic_steps", 0),
    (configs.GANConfig, "average_decay", 1.0),
    (configs.GANConfig, "scale", 0.0),
    (configs.BayesianDecoderConfig, "latent_dim", 0),
    (configs.BayesianDecoderConfig, "hidden_dims", (0,)),
    (configs.WeightPosteriorConfig, "num_members", 0),
    (configs.WeightPosteriorConfig, "num_warmup_epochs", 0),
    (configs.WeightPosteriorConfig, "num_epochs_between", 0),
    (configs.WeightPosteriorConfig, "prior_scale", 0.0),
    (configs.WeightPosteriorConfig, "temperature", -1.0),
    (configs.WeightPosteriorConfig, "step_size", 0.0),
    (configs.WeightPosteriorConfig, "friction", 0.0),
    (configs.DeepLatentConfig, "num_chains", 0),
    (configs.DeepLatentConfig, "num_moves", 0),
]


@pytest.mark.parametrize(("make", "field", "value"), BAD)
def test_bad_values_name_their_field(make, field, value):
    with pytest.raises(ValueError, match=field) as error:
        make(**{field: value})
    assert repr(value) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("config", [row.config for row in SYSTEMS.values()])
def test_configs_of_systems_are_frozen_hashable_and_have_defaults(config):
    assert hash(config()) == hash(config())
    with pytest.raises(dataclasses.FrozenInstanceError):
        config().latent_dim = 3


def test_default_vae_is_the_seeds():
    assert configs.VAEConfig().hidden_dims == (512, 256)


def test_configs_and_the_table_import_no_jax():
    code = "import sys, vae_jax.configs, vae_jax.systems; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_second_level_is_a_part_of_the_latents():
    expected = r"network.top_dim is 3: expected less than latent_dim \(3\)"
    with pytest.raises(configs.ConfigError, match=expected):
        configs.VAEConfig(3, network=configs.NetworkConfig(top_dim=3))


@pytest.mark.parametrize("objective", ["free_bits", "capacity"])
@pytest.mark.parametrize(
    "parts",
    [{"posterior": configs.PosteriorConfig("iaf")}, {"prior": configs.PriorConfig("mixture")}],
)
def test_objectives_of_an_exact_divergence_refuse_parts_without_one(objective, parts):
    with pytest.raises(configs.ConfigError, match=f"objective is '{objective}': expected a mean_f"):
        configs.VAEConfig(objective=configs.ObjectiveConfig(objective), **parts)


def test_an_autoregressive_posterior_has_units_for_every_latent():
    narrow = configs.PosteriorConfig("iaf", hidden_dim=4)
    assert configs.VAEConfig(5, posterior=narrow).latent_dim == 5
    with pytest.raises(configs.ConfigError, match=r"posterior\.hidden_dim is 4: expected at least"):
        configs.VAEConfig(6, posterior=narrow)


@pytest.mark.parametrize("objective", ["iwae", "dreg"])
def test_a_bound_of_one_sample_is_not_called_importance_weighted(objective):
    with pytest.raises(configs.ConfigError, match=r"objective\.num_samples is 1: expected at"):
        configs.VAEConfig(objective=configs.ObjectiveConfig(objective))


def test_an_iwae_is_trained_on_a_bound_of_its_own():
    with pytest.raises(configs.ConfigError, match="objective is 'beta': expected iwae or stl or d"):
        configs.IWAEConfig(objective=configs.ObjectiveConfig("beta"))
