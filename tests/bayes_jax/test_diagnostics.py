"""Diagnostics against processes of known effective size, and against planted faults."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro.diagnostics import effective_sample_size
from scipy.signal import lfilter

from bayes_jax import Draws, diagnose
from bayes_jax.diagnostics import Diagnostics, energy_fraction

NUM_BATCH, NUM_CHAINS, NUM_DRAWS = 30, 4, 500
# One AR(1) coefficient for each of three latents.
COEFFICIENTS = (-0.3, 0.0, 0.8)


def autoregressive(random, coefficient, shape):
    """Stationary AR(1) with unit variance along the last axis."""
    noise = random.standard_normal(shape)
    noise[..., 1:] *= np.sqrt(1 - coefficient**2)
    return lfilter([1.0], [1.0, -coefficient], noise)


def draws_of(z, *, energy=None, diverging=0, valid=True) -> Draws:
    """Draws around given z `[batch, chain, draw, latent]` and iid normal energies."""
    shape = jax.tree.leaves(z)[0].shape[:3]
    if energy is None:
        energy = np.random.default_rng(9).standard_normal(shape)
    return Draws(
        z=jax.tree.map(jnp.float32, z),
        log_joint=jnp.zeros(shape),
        energy=jnp.float32(energy),
        accept=jnp.full(shape[0], 0.8),
        diverging=jnp.full(shape[0], diverging),
        num_grads=jnp.ones(shape[0], jnp.int32),
        valid=jnp.full(shape[0], valid),
    )


@pytest.fixture(scope="module")
def chains() -> np.ndarray:
    random = np.random.default_rng(0)
    shape = (NUM_BATCH, NUM_CHAINS, NUM_DRAWS)
    return np.stack([autoregressive(random, rho, shape) for rho in COEFFICIENTS], axis=-1)


@pytest.fixture(scope="module")
def diagnosed(chains) -> Diagnostics:
    return diagnose(draws_of(chains))


def test_ess_of_autoregressive_chains_is_the_closed_form(diagnosed):
    """(1 - rho) / (1 + rho) of the draws, in the mean over observations."""
    expected = NUM_CHAINS * NUM_DRAWS * np.array([(1 - rho) / (1 + rho) for rho in COEFFICIENTS])
    np.testing.assert_allclose(np.mean(diagnosed.ess_bulk, axis=0), expected, rtol=0.12)


def test_ess_behind_the_mean_is_numpyros(chains, diagnosed):
    """The ESS that turns a spread into a standard error: split chains, no ranks."""
    z = jnp.float32(chains)
    ess = np.var(np.asarray(z), axis=(1, 2), ddof=1) / np.asarray(diagnosed.mcse_mean) ** 2
    for row in range(5):
        halves = np.split(chains[row].astype(np.float32), 2, axis=1)
        np.testing.assert_allclose(
            ess[row], effective_sample_size(np.concatenate(halves)), rtol=0.03
        )


def test_mcse_is_the_spread_over_replications(diagnosed, chains):
    """The mean of AR(1) chains is normal around zero: standardised errors have unit spread."""
    standardised = chains.mean(axis=(1, 2)) / np.asarray(diagnosed.mcse_mean)
    spread = np.sqrt(np.mean(standardised**2, axis=0))
    # Known to 1 / sqrt(2 R) of itself from R replications.
    np.testing.assert_allclose(spread, 1, atol=4 / np.sqrt(2 * NUM_BATCH))
    assert np.max(np.abs(standardised)) < 5


def test_tail_ess_is_that_of_the_tail_indicators(chains, diagnosed):
    """The worse of the ESS of being below the 5% and below the 95% quantile, by NumPyro."""
    for row, latent in ((0, 0), (1, 1), (2, 2), (3, 2)):
        z = chains[row, :, :, latent].astype(np.float32)
        halves = np.concatenate(np.split(z, 2, axis=1))
        expected = min(
            effective_sample_size((halves <= np.quantile(z, level)).astype(np.float32))
            for level in (0.05, 0.95)
        )
        np.testing.assert_allclose(diagnosed.ess_tail[row, latent], expected, rtol=0.03)


def test_rhat_is_near_one_for_chains_of_one_law_and_tells_others(chains, diagnosed):
    assert float(jnp.max(diagnosed.rhat[:, 1])) < 1.01
    apart = chains.copy()
    apart[:, 0, :, 0] += 1.0  # one chain elsewhere
    apart[:, 1, :, 1] *= 4.0  # one chain wider: only the folded ranks see it
    apart[:, :, : NUM_DRAWS // 2, 2] += 3.0  # all chains drift: only splitting sees it
    rhat = diagnose(draws_of(apart)).rhat
    assert float(jnp.min(rhat)) > 1.02


def test_energy_fraction_is_two_for_independent_and_small_for_slow_energies():
    random = np.random.default_rng(1)
    shape = (20, 4, 2000)
    independent = energy_fraction(jnp.float32(3 * random.standard_normal(shape)))
    np.testing.assert_allclose(np.mean(independent), 2, atol=0.05)
    rho = 0.95
    slow = energy_fraction(jnp.float32(3 * autoregressive(random, rho, shape)))
    np.testing.assert_allclose(np.mean(slow), 2 * (1 - rho), rtol=0.1)
    assert float(jnp.max(slow)) < 0.3


def test_the_worst_chain_speaks_for_the_energy(chains):
    random = np.random.default_rng(2)
    energy = random.standard_normal(chains.shape[:3])
    energy[3, 2] = autoregressive(random, 0.97, (NUM_DRAWS,))
    ebfmi = diagnose(draws_of(chains, energy=energy)).ebfmi
    assert float(ebfmi[3]) < 0.3
    assert float(jnp.min(jnp.delete(ebfmi, 3))) > 1.5


def test_pytree_positions_become_one_latent_axis(chains, diagnosed):
    """Scalars and matrices among them."""
    tree = {"scalar": chains[..., 0], "matrix": chains[..., None, 1:]}
    found = diagnose(draws_of(tree))
    for name, expected in diagnosed._asdict().items():
        # The matrix comes first, by its name.
        expected = expected[:, [1, 2, 0]] if expected.ndim == 2 else expected
        np.testing.assert_allclose(getattr(found, name), expected, rtol=1e-5, err_msg=name)


def test_converged_wants_every_threshold(chains, diagnosed):
    """Independent draws pass; each fault alone fails, and only in its row."""
    good = chains[..., [1, 1, 1]]

    def verdict(z=good, **faults):
        return np.asarray(diagnose(draws_of(z, **faults)).converged(NUM_CHAINS))

    assert verdict().all()
    assert not verdict(valid=False).any()
    assert not verdict(diverging=1).any()
    shifted = good.copy()
    shifted[4, 0] += 1
    assert np.flatnonzero(~verdict(shifted)).tolist() == [4]
    energy = np.random.default_rng(3).standard_normal(good.shape[:3])
    energy[7] = np.cumsum(energy[7], axis=-1)
    assert np.flatnonzero(~verdict(energy=energy)).tolist() == [7]
    # 2000 draws cannot be 100 effective ones for each of 40 chains.
    assert not np.asarray(diagnose(draws_of(good)).converged(40)).any()
    # Neither can slow chains, though all else is well.
    slow = diagnosed._replace(rhat=jnp.ones_like(diagnosed.rhat))
    assert float(jnp.mean(slow.ess_bulk[:, 2])) < 400
    assert not np.asarray(slow.converged(NUM_CHAINS)[slow.ess_bulk[:, 2] < 400]).any()


def test_one_bad_latent_is_enough(diagnosed):
    fields = {
        "rhat": jnp.full((1, 3), 1.0).at[0, 2].set(1.02),
        "ess_bulk": jnp.full((1, 3), 1e4).at[0, 1].set(399),
        "ess_tail": jnp.full((1, 3), 1e4).at[0, 0].set(399),
        "ebfmi": jnp.full((1,), 0.29),
    }
    good = Diagnostics(
        rhat=jnp.ones((1, 3)),
        ess_bulk=jnp.full((1, 3), 400.0),
        ess_tail=jnp.full((1, 3), 400.0),
        mcse_mean=jnp.zeros((1, 3)),
        ebfmi=jnp.full((1,), 0.3),
        diverging=jnp.zeros((1,), jnp.int32),
        valid=jnp.ones((1,), bool),
    )
    assert bool(good.converged(4)[0])
    for name, value in fields.items():
        assert not bool(good._replace(**{name: value}).converged(4)[0]), name


def test_works_inside_jit_and_of_chains_that_stand_still(chains):
    still = chains.copy()
    still[2] = 1.0

    @jax.jit
    def verdict(draws):
        return diagnose(draws).converged(NUM_CHAINS)

    found = np.asarray(verdict(draws_of(still[..., [1, 1, 1]])))
    assert np.flatnonzero(~found).tolist() == [2]
