"""Every head and every objective trains, and every engine takes what comes out."""

import typing

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import bayes_jax
from vae_jax import configs, training
from vae_jax.configs import (
    DataConfig,
    ObjectiveConfig,
    PosteriorConfig,
    PriorConfig,
    TrainConfig,
    VAEConfig,
)
from vae_jax.data.arrays import bits_per_dim, load
from vae_jax.systems import build

KEY = jax.random.key(0)
TRAIN = TrainConfig(num_epochs=5, batch_size=64, learning_rate=3e-3)
OPTIONS = {
    "beta": {"beta": 2.0, "num_warmup_steps": 20},
    "free_bits": {"free_nats": 0.2},
    "capacity": {"capacity": 5.0, "weight": 2.0, "num_warmup_steps": 20},
    "iwae": {"num_samples": 4},
    "stl": {"num_samples": 1},
    "dreg": {"num_samples": 4},
}


def trained(head, objective=None, config=None):
    dataset = load(DataConfig("digits", head))
    config = config or VAEConfig(3, (32,), objective or ObjectiveConfig())
    system = build("vae", config, dataset.spec)
    x = dataset.validation.astype(np.float32)
    start = training.initial_progress(KEY, system, jnp.asarray(dataset.train)).state
    before = training.evaluate(KEY, system, start, dataset.validation)
    result = training.fit(KEY, system, dataset.train, dataset.validation, TRAIN)
    after = training.evaluate(KEY, system, result.state, dataset.validation)
    return dataset, system.generative(result.state), before, after, x


@pytest.mark.parametrize("head", sorted(configs.REPRESENTATIONS))
def test_every_head_trains_and_is_annealed_and_sampled(head):
    dataset, model, before, after, x = trained(head)
    gain = np.asarray(after["elbo"] - before["elbo"])
    assert gain.mean() > 4 * gain.std() / np.sqrt(len(gain))
    few = jnp.asarray(x[:4])
    annealed = bayes_jax.annealed_evidence(
        KEY, model.latent, few, guide=model.guide, num_temperatures=20
    )
    elbo = bayes_jax.elbo(KEY, model.latent, few, guide=model.guide)
    slack = 4 * jnp.linalg.norm(annealed.stderr_lower) + 4 * jnp.linalg.norm(elbo.stderr_lower)
    assert jnp.sum(annealed.lower - elbo.lower) > -slack
    images = model.sample(KEY, 5)
    assert images.shape == (5, 64)
    if dataset.spec.representation in ("bits", "levels"):
        assert np.asarray(images).max() <= dataset.spec.white


def test_bits_of_a_level_are_comparable_across_heads():
    """A density's bits bound those of the discrete image from above; uniform levels have 4.09."""
    bits = {}
    for head in ("categorical", "discretized_logistic", "gaussian"):
        dataset, _, _, after, _ = trained(head)
        bits[head] = float(
            bits_per_dim(
                np.mean(after["elbo"]),
                dim=dataset.spec.dim,
                observation=head,
                num_levels=dataset.num_levels,
            )
        )
    assert all(1 < value < np.log2(17) for value in bits.values())


PAIRS = [(name, "standard_normal") for name in typing.get_args(configs.PosteriorName)]
PAIRS += [("mean_field", name) for name in typing.get_args(configs.PriorName)[1:]]
PAIRS += [("full_rank", "vamp"), ("iaf", "flow")]


@pytest.mark.parametrize(("posterior", "prior"), PAIRS)
def test_every_posterior_and_prior_trains_and_every_engine_takes_it(posterior, prior):
    config = VAEConfig(
        3,
        (32,),
        posterior=PosteriorConfig(posterior, num_layers=2, hidden_dim=8),
        prior=PriorConfig(prior, num_components=5, num_layers=2, hidden_dim=8),
    )
    _, model, before, after, x = trained("bernoulli", config=config)
    gain = np.asarray(after["elbo"] - before["elbo"])
    assert gain.mean() > 4 * gain.std() / np.sqrt(len(gain))
    few = jnp.asarray(x[:4])
    elbo = bayes_jax.elbo(KEY, model.latent, few, guide=model.guide)
    options = {"num_temperatures": 20, "num_chains": 8}
    annealed = bayes_jax.annealed_evidence(KEY, model.latent, few, guide=model.guide, **options)
    slack = 4 * jnp.linalg.norm(annealed.stderr_lower) + 4 * jnp.linalg.norm(elbo.stderr_lower)
    assert jnp.sum(annealed.lower - elbo.lower) > -slack
    draws = bayes_jax.sample_posterior(
        KEY, model.latent, few, guide=model.guide, num_chains=8, num_samples=20
    )
    assert bool(jnp.all(draws.valid))
    assert model.sample(KEY, 5).shape == (5, 64)


@pytest.mark.parametrize("name", typing.get_args(configs.Objective))
def test_every_objective_trains(name):
    objective = ObjectiveConfig(name, **OPTIONS.get(name, {}))
    _, _, before, after, _ = trained("bernoulli", objective)
    gain = np.asarray(after["objective"] - before["objective"])
    assert gain.mean() > 4 * gain.std() / np.sqrt(len(gain))


def test_a_warm_up_is_over_when_a_model_is_evaluated():
    """Its first step sees a tenth of the KL, its validation all of it."""
    dataset = load(DataConfig("digits", "bernoulli"))
    objective = ObjectiveConfig("beta", beta=2.0, num_warmup_steps=10)
    system = build("vae", VAEConfig(3, (32,), objective), dataset.spec)
    state = system.init(KEY, jnp.asarray(dataset.train))
    batch = jnp.asarray(dataset.train[:32], jnp.float32)
    for beta in (0.2, 0.4, 0.6):
        state, metrics = system.step(state, KEY, batch)
        penalty = metrics["reconstruction"] - metrics["objective"]
        np.testing.assert_allclose(penalty, beta * metrics["kl"], rtol=1e-3, atol=1e-4)
    whole = system.evaluate(state, KEY, batch)
    np.testing.assert_allclose(
        whole["reconstruction"] - whole["objective"], 2 * whole["kl"], rtol=1e-4, atol=1e-3
    )
