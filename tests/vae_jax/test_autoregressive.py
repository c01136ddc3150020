"""Autoregressive systems on digits: what they reach, and what they refuse."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

from bayes_jax import InputError
from bayes_jax.estimates import EvidenceKind
from vae_jax import training
from vae_jax.configs import AutoregressiveConfig, DataConfig, MixtureConfig, TrainConfig
from vae_jax.configs.data import ObservationSpec
from vae_jax.data.arrays import load
from vae_jax.systems import build

KEY = jax.random.key(1)
SMALL = {
    "made": AutoregressiveConfig("made", (128, 128)),
    "pixelcnn": AutoregressiveConfig("pixelcnn", channels=16, num_layers=3),
    "transformer": AutoregressiveConfig("transformer", channels=32, num_layers=2),
}


@pytest.fixture(scope="module")
def digits():
    return load(DataConfig("digits", "bernoulli"))


def fitted(name, config, dataset, **options):
    system = build(name, config, dataset.spec)
    options = {"num_epochs": 15, "batch_size": 50, "learning_rate": 3e-3} | options
    result = training.fit(KEY, system, dataset.train, dataset.validation, TrainConfig(**options))
    return system.generative(result.state)


@pytest.mark.slow
@pytest.mark.parametrize(
    "network",
    ["made", *(pytest.param(name, marks=pytest.mark.long) for name in ("pixelcnn", "transformer"))],
)
def test_networks_beat_the_mixture_of_ten(digits, network):
    """On test images, paired, exact both times."""
    x = jnp.asarray(digits.test, jnp.float32)
    mixture = fitted("mixture", MixtureConfig(10), digits).log_evidence(KEY, x)
    options = {"num_epochs": 40} if network == "transformer" else {}  # it learns later
    model = fitted("autoregressive", SMALL[network], digits, **options)
    evidence = model.log_evidence(KEY, x)
    assert evidence.kind == EvidenceKind.EXACT
    gain = np.asarray(evidence.lower - mixture.lower, np.float64)
    assert gain.mean() > 4 * gain.std() / np.sqrt(len(gain))
    x = model.sample(KEY, 200)
    # Of its own draws log p and the entropies of their pixels, each given those before, cancel.
    excess = np.asarray(model.log_evidence(KEY, x).lower + entropies(model.density, x), np.float64)
    assert abs(excess.mean()) < 4 * excess.std() / np.sqrt(len(excess))


def entropies(density, x):
    """Sum over pixels of the entropy of each, given the pixels before it in x."""
    features = jax.vmap(lambda x: density.body.features(density.params["network"], x, jnp.zeros(0)))
    return jnp.sum(dist.BernoulliLogits(features(x)).entropy(), axis=1)


def test_an_untrained_network_has_the_pixel_means(digits):
    system = build("autoregressive", SMALL["pixelcnn"], digits.spec)
    state = system.init(KEY, jnp.asarray(digits.train))
    features = state.params["network"]["params"]["output"]["bias"]
    mean = np.clip(digits.train.mean(axis=0), 1e-3, 1 - 1e-3)
    np.testing.assert_allclose(jax.nn.sigmoid(features), mean, rtol=1e-4)


def test_what_it_cannot_score_is_refused(digits):
    system = build("autoregressive", SMALL["made"], digits.spec)
    grey = np.full((60, 64), 0.5, np.float32)
    with pytest.raises(InputError, match=r"train: .* outside the support of p"):
        training.fit(KEY, system, grey, grey, TrainConfig(num_epochs=1, batch_size=50))
    model = system.generative(system.init(KEY, jnp.asarray(digits.train)))
    with pytest.raises(InputError, match=r"x\[0\] lies outside the support of p\(x\)"):
        model.log_evidence(KEY, grey)
    with pytest.raises(InputError, match="x has observations of shape"):
        model.log_evidence(KEY, jnp.zeros((3, 5)))
    with pytest.raises(InputError, match="pixelcnn without an image_shape"):
        build("autoregressive", SMALL["pixelcnn"], ObservationSpec(64, "bernoulli"))
