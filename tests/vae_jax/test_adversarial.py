"""Losses of critic and generator on critics whose slope is known, and the score of samples."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vae_jax import adversarial

KEY = jax.random.key(0)
SLOPE = jnp.array([0.6, -0.8, 1.5])
REAL = jax.random.normal(KEY, (40, 3))
FAKE = 0.5 + jax.random.normal(jax.random.key(1), (40, 3))


def linear(x):
    return SLOPE @ x + 0.3


def quadratic(x):
    return 0.5 * jnp.sum(x**2)


def test_non_saturating_losses_are_logistic_with_the_slope_at_real_images():
    real, fake = np.asarray(REAL @ SLOPE + 0.3), np.asarray(FAKE @ SLOPE + 0.3)
    logistic = np.mean(np.log1p(np.exp(-real))) + np.mean(np.log1p(np.exp(fake)))
    found = adversarial.non_saturating_critic(KEY, linear, REAL, FAKE, penalty=4.0)
    assert found == pytest.approx(logistic + 2 * np.sum(np.asarray(SLOPE) ** 2), rel=1e-5)
    plain = adversarial.non_saturating_critic(KEY, quadratic, REAL, FAKE, penalty=0.0)
    whole = adversarial.non_saturating_critic(KEY, quadratic, REAL, FAKE, penalty=1.0)
    # The slope of the quadratic at x is x: at real images, not at generated ones.
    assert whole - plain == pytest.approx(0.5 * np.mean(np.sum(np.asarray(REAL) ** 2, 1)), rel=1e-4)
    found = adversarial.non_saturating_generator(jnp.asarray(fake))
    assert found == pytest.approx(np.mean(np.log1p(np.exp(-fake))), rel=1e-5)


def test_wasserstein_losses_are_differences_with_slopes_held_to_one():
    real, fake = np.asarray(REAL @ SLOPE + 0.3), np.asarray(FAKE @ SLOPE + 0.3)
    found = adversarial.wasserstein_critic(KEY, linear, REAL, FAKE, penalty=7.0)
    excess = (np.linalg.norm(SLOPE) - 1) ** 2
    assert found == pytest.approx(fake.mean() - real.mean() + 7 * excess, rel=1e-5)
    assert adversarial.wasserstein_generator(jnp.asarray(fake)) == pytest.approx(-fake.mean())


def test_slopes_are_looked_at_between_real_and_generated_images():
    def seen_at(key, real, fake):
        plain, whole = (
            adversarial.wasserstein_critic(key, quadratic, real, fake, penalty=penalty)
            for penalty in (0.0, 1.0)
        )
        return float(whole - plain)

    # From 3 to 5 along one axis the slope's length is the place.
    real, fake = (
        jnp.tile(jnp.array([3.0, 0, 0]), (500, 1)),
        jnp.tile(jnp.array([5.0, 0, 0]), (500, 1)),
    )
    assert seen_at(KEY, real, fake) == pytest.approx(
        np.mean((np.linspace(3, 5, 999) - 1) ** 2), rel=0.05
    )
    assert seen_at(KEY, real, real) == pytest.approx(4.0, rel=1e-4)


def test_slopes_are_looked_at_on_the_line_between_two_images():
    """There both pixels are equal, and the critic is flat; in the box around it it is not."""
    real, fake = jnp.zeros((50, 2)), jnp.full((50, 2), 4.0)
    found = adversarial.wasserstein_critic(
        KEY, lambda x: 0.5 * (x[0] - x[1]) ** 2, real, fake, penalty=1.0
    )
    assert found == pytest.approx(1.0, abs=1e-4)


def test_energy_score_is_what_loops_give():
    x, samples = np.asarray(REAL[:4], np.float64), np.asarray(FAKE[:6], np.float64)
    near = np.array([[np.linalg.norm(a - b) for b in samples] for a in x]).mean(axis=1)
    apart = [np.linalg.norm(a - b) for i, a in enumerate(samples) for b in samples[:i]]
    found = adversarial.energy_score(jnp.asarray(x, jnp.float32), jnp.asarray(samples, jnp.float32))
    np.testing.assert_allclose(found, near - 0.5 * np.mean(apart), rtol=1e-3)


@pytest.mark.parametrize("wrong", [lambda x: x + 0.5, lambda x: 0.6 * x, lambda x: 1.5 * x])
def test_energy_score_is_least_for_the_truth(wrong):
    x, samples = (jax.random.normal(key, (2000, 3)) for key in jax.random.split(jax.random.key(2)))
    gain = adversarial.energy_score(x, wrong(samples)) - adversarial.energy_score(x, samples)
    assert gain.mean() > 4 * gain.std() / np.sqrt(len(gain))
