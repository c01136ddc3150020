"""Data that stay on the host train what data on the device do."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vae_jax import training
from vae_jax.configs import ConfigError, ObservationSpec, TrainConfig, VAEConfig
from vae_jax.systems.base import System, observing
from vae_jax.systems.vae import build_vae
from vae_jax.training import streaming

NUM, DIM = 50, 12
CONFIG = TrainConfig(num_epochs=3, batch_size=7, learning_rate=1e-2)


@pytest.fixture(scope="module")
def system() -> System:
    return build_vae(VAEConfig(2, (8,)), ObservationSpec(DIM, "bernoulli"))


@pytest.fixture(scope="module")
def data() -> np.ndarray:
    return (np.random.default_rng(0).random((NUM, DIM)) > 0.5).astype(np.uint8)


def fit(system, data, config, num_seeds=1):
    keys = jax.random.split(jax.random.key(3), num_seeds)
    return training.fit_seeds(keys, system, data, data[:20], config)


def assert_same(resident, streamed):
    for one, other in zip(resident, streamed, strict=True):
        assert one.best_epoch == other.best_epoch
        for left, right in zip(one.history, other.history, strict=True):
            for part in ("train", "validation"):
                of_left, of_right = getattr(left, part), getattr(right, part)
                assert of_left.keys() == of_right.keys()
                for name, value in of_left.items():
                    np.testing.assert_allclose(value, of_right[name], rtol=1e-4, err_msg=name)
        for left, right in zip(
            jax.tree.leaves(one.progress), jax.tree.leaves(other.progress), strict=True
        ):
            np.testing.assert_allclose(left, right, atol=2e-6)


@pytest.mark.slow
@pytest.mark.parametrize("stream_steps", [1, 3, 4, 100])
@pytest.mark.parametrize("num_seeds", [1, 2])
def test_streamed_is_resident(system, data, stream_steps, num_seeds):
    """Seven steps an epoch: in ones, in threes (the last one short), in fours, in one go."""
    streams = dataclasses.replace(CONFIG, stream_steps=stream_steps)
    assert_same(fit(system, data, CONFIG, num_seeds), fit(system, data, streams, num_seeds))


def test_fresh_noise_is_the_same(system, data):
    def observe(key, batch):
        return jax.random.bernoulli(key, 0.2 + 0.6 * batch).astype(jnp.float32)

    noisy = observing(system, observe)
    streams = dataclasses.replace(CONFIG, stream_steps=3)
    assert_same(fit(noisy, data, CONFIG), fit(noisy, data, streams))


def test_all_chunks_share_a_program_and_the_device_never_holds_the_data(system, data):
    seen = []

    def step(state, key, batch, *, learning_rate):
        seen.append(batch.shape)
        return state, {"objective": jnp.mean(batch)}

    keys = jax.random.split(jax.random.key(0), 1)
    rates, active = np.ones(1, np.float32), np.ones(1, bool)
    before = {id(array) for array in jax.live_arrays()}
    largest = 0

    def spy(put):
        def spied(tree):
            nonlocal largest
            largest = max(largest, sum(leaf.nbytes for leaf in jax.tree.leaves(tree)))
            return put(tree)

        return spied

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streaming.jax, "device_put", spy(jax.device_put))
        _, means, is_good = streaming.train_epochs(
            jnp.zeros(1), keys, data, rates, active, step=step, batch_size=5, stream_steps=4
        )
    assert is_good.all()
    assert float(means["objective"][0]) == pytest.approx(data.mean(), rel=1e-6)
    assert largest == 4 * 5 * DIM
    assert set(seen) == {(5, DIM)}
    assert len(seen) == 2  # its shape, and the one compilation
    held = [array for array in jax.live_arrays() if id(array) not in before]
    assert all(array.nbytes < data.nbytes for array in held)


def test_negative_steps_are_refused():
    with pytest.raises(ConfigError, match="stream_steps is -1: expected at least 0"):
        TrainConfig(stream_steps=-1)
