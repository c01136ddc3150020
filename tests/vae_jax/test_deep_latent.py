"""A decoder learned by MCMC: chains of each image, PPCA as its optimum, the VAE beside it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import bayes_jax
from bayes_jax.exact import linear_gaussian
from vae_jax import training
from vae_jax.configs import (
    DataConfig,
    DeepLatentConfig,
    ObservationSpec,
    PPCAConfig,
    TrainConfig,
    VAEConfig,
)
from vae_jax.data.arrays import load
from vae_jax.systems import build
from vae_jax.systems.base import training_data

KEY = jax.random.key(4)


def test_only_the_chains_of_a_batch_move_and_their_images_keep_them():
    spec = ObservationSpec(6, "bernoulli")
    system = build("deep_latent", DeepLatentConfig(2, (8,), num_chains=3), spec)
    x = (np.random.default_rng(0).random((20, 6)) < 0.4).astype(np.float32)
    data = training_data(system, jnp.asarray(x))
    state = system.init(KEY, data)
    assert state.z.shape == (20, 3, 2)
    rows = jnp.array([3, 11, 7])
    batch = {"x": data["x"][rows], "row": rows.astype(jnp.float32)}
    step = jax.jit(system.step)
    new, metrics = step(state, KEY, batch)
    moved = np.any(np.asarray(new.z != state.z), axis=(1, 2))
    np.testing.assert_array_equal(np.flatnonzero(moved), [3, 7, 11])
    assert 0 < metrics["accept"] <= 1
    # By small steps no chain comes far, so that a chain of another image shows.
    near, _ = step(state._replace(log_step=jnp.log(1e-4)), KEY, batch)
    np.testing.assert_allclose(near.z, state.z, atol=0.02)
    assert np.all(np.any(np.asarray(near.z != state.z), axis=(1, 2))[np.asarray(rows)])


def test_chains_that_are_refused_too_often_step_less_far():
    spec = ObservationSpec(6, "bernoulli")
    system = build("deep_latent", DeepLatentConfig(2, (8,)), spec)
    data = training_data(system, jnp.ones((8, 6)))
    state = system.init(KEY, data)
    batch = jax.tree.map(jnp.asarray, data)
    step = jax.jit(system.step)
    too_far, _ = step(state._replace(log_step=jnp.log(50.0)), KEY, batch)
    too_near, _ = step(state._replace(log_step=jnp.log(1e-3)), KEY, batch)
    assert too_far.log_step < jnp.log(50.0)
    assert too_near.log_step > jnp.log(1e-3)


def exact_of(system, state):
    """The linear decoder of a state under its shared noise, whose evidence is exact."""
    likelihood = system.generative(state).latent.likelihood
    mean = likelihood(jnp.zeros(4)).mean
    loading = jax.vmap(lambda z: likelihood(z).mean)(jnp.eye(4)) - mean
    return linear_gaussian.LinearGaussian(loading.T, mean, likelihood(jnp.zeros(4)).variance)


def test_validation_watches_a_lower_bound():
    """exp of it is unbiased for p(x), so that its mean lies below log p(x), here by little."""
    spec = ObservationSpec(6, "gaussian_shared", min_variance=1e-3)
    system = build("deep_latent", DeepLatentConfig(4, ()), spec)
    x = np.random.default_rng(0).normal(size=(300, 6)).astype(np.float32)
    state = system.init(KEY, training_data(system, jnp.asarray(x)))
    found = np.asarray(jax.jit(system.evaluate)(state, KEY, x)["objective"], np.float64)
    exact = exact_of(system, state)
    log_evidence = np.asarray(linear_gaussian.log_evidences(exact, x), np.float64)
    gap = log_evidence - found
    assert -4 * gap.std() / np.sqrt(len(gap)) < gap.mean() < 0.5
    ratio = np.exp(-gap)
    assert abs(ratio.mean() - 1) < 4 * ratio.std() / np.sqrt(len(ratio))


@pytest.mark.long
def test_a_linear_decoder_reaches_the_evidence_of_ppca():
    dataset = load(DataConfig("digits", "gaussian_shared"))
    system = build("deep_latent", DeepLatentConfig(4, (), num_moves=5), dataset.spec)
    loop = TrainConfig(
        num_epochs=300, batch_size=64, learning_rate=3e-3, patience=300, schedule="cosine"
    )
    result = training.fit(KEY, system, dataset.train, dataset.validation, loop)
    exact = exact_of(system, result.progress.state)
    spec = ObservationSpec(dataset.spec.dim, "gaussian", min_variance=dataset.spec.min_variance)
    ppca = build("ppca", PPCAConfig(4), spec)
    best = ppca.generative(ppca.fit(KEY, jnp.asarray(dataset.train)))
    x = jnp.asarray(dataset.train)
    found = linear_gaussian.generative(exact).log_evidence(KEY, x).lower
    shortfall = np.mean(np.asarray(best.log_evidence(KEY, x).lower - found, np.float64))
    assert -1e-3 < shortfall < 0.05


@pytest.mark.long
def test_it_loses_little_to_the_vae_in_equal_epochs():
    """Test evidence, paired, three seeds, annealed from the prior both times."""
    dataset = load(DataConfig("digits", "bernoulli"))
    loop = TrainConfig(num_epochs=60, batch_size=64, patience=60)
    x = jnp.asarray(dataset.test[:128], jnp.float32)
    keys = jax.random.split(KEY, 3)
    evidence = {}
    for name, config in (
        ("vae", VAEConfig(8, (64, 32))),
        ("deep_latent", DeepLatentConfig(8, (64, 32))),
    ):
        system = build(name, config, dataset.spec)
        results = training.fit_seeds(keys, system, dataset.train, dataset.validation, loop)
        evidence[name] = [
            bayes_jax.annealed_evidence(
                KEY, system.generative(result.state).latent, x, num_temperatures=500
            ).lower
            for result in results
        ]
    gain = np.mean(np.subtract(evidence["deep_latent"], evidence["vae"]), axis=0)
    stderr = gain.std(ddof=1) / np.sqrt(len(gain))
    print(f"deep_latent - vae: {gain.mean():.3f} +- {stderr:.3f} nats")
    assert gain.mean() > -0.5
