"""Diagnostics against processes of known effective size, and against planted faults."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro.diagnostics import effective_sample_size
from scipy.signal import lfilter

from bayes_jax import Draws, diagnose, verdict
from bayes_jax.diagnostics import MIN_ESS_PER_CHAIN, Diagnostics, Fault, energy_fraction, judge

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
        from_prior=jnp.zeros(shape[:2], bool),
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

    def passes(z=good, **faults):
        return np.asarray(verdict(draws_of(z, **faults)).converged)

    assert passes().all()
    assert not passes(valid=False).any()
    assert not passes(diverging=1).any()
    shifted = good.copy()
    shifted[4, 0] += 1
    assert np.flatnonzero(~passes(shifted)).tolist() == [4]
    energy = np.random.default_rng(3).standard_normal(good.shape[:3])
    energy[7] = np.cumsum(energy[7], axis=-1)
    assert np.flatnonzero(~passes(energy=energy)).tolist() == [7]
    # Neither can slow chains, though all else is well.
    slow = diagnosed._replace(rhat=jnp.ones_like(diagnosed.rhat))
    slow = slow._replace(rhat_guided=slow.rhat)
    few = slow.ess_bulk[:, 2] < MIN_ESS_PER_CHAIN * NUM_CHAINS
    assert int(few.sum()) > 5
    faults = np.asarray(judge(slow).faults)[np.asarray(few)]
    assert np.all(faults & Fault.LOW_BULK_ESS)


GOOD = Diagnostics(
    rhat=jnp.ones((1, 3)),
    rhat_guided=jnp.ones((1, 3)),
    ess_bulk=jnp.full((1, 3), 400.0),
    ess_tail=jnp.full((1, 3), 400.0),
    mcse_mean=jnp.zeros((1, 3)),
    ebfmi=jnp.full((1,), 0.3),
    diverging=jnp.zeros((1,), jnp.int32),
    valid=jnp.ones((1,), bool),
    num_chains=jnp.full((1,), 4),
)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({}, Fault(0)),
        ({"rhat": jnp.full((1, 3), 1.0).at[0, 2].set(1.02)}, Fault.OTHER_MODES),
        (
            {"rhat": jnp.full((1, 3), 1.02), "rhat_guided": jnp.ones((1, 3)).at[0, 0].set(1.02)},
            Fault.CHAINS_DISAGREE,
        ),
        ({"ess_bulk": jnp.full((1, 3), 1e4).at[0, 1].set(399)}, Fault.LOW_BULK_ESS),
        ({"ess_tail": jnp.full((1, 3), 1e4).at[0, 0].set(399)}, Fault.LOW_TAIL_ESS),
        ({"ebfmi": jnp.full((1,), 0.29)}, Fault.LOW_EBFMI),
        ({"diverging": jnp.ones((1,), jnp.int32)}, Fault.DIVERGENCES),
        ({"valid": jnp.zeros((1,), bool)}, Fault.NOT_FINITE),
        ({"num_chains": jnp.full((1,), 5)}, Fault.LOW_BULK_ESS | Fault.LOW_TAIL_ESS),
        ({"ebfmi": jnp.full((1,), jnp.nan)}, Fault.LOW_EBFMI),
        (
            {"rhat": jnp.full((1, 3), jnp.nan), "rhat_guided": jnp.full((1, 3), jnp.nan)},
            Fault.CHAINS_DISAGREE,
        ),
    ],
)
def test_each_fault_is_named_and_one_bad_latent_is_enough(changes, fault):
    found = judge(GOOD._replace(**changes))
    assert Fault(int(found.faults[0])) == fault
    assert bool(found.converged[0]) == (not fault)
    assert len(found.reasons(0)) == len(fault)


def test_a_verdict_is_summed_up_in_a_line():
    two = jax.tree.map(lambda leaf: jnp.concatenate([leaf, leaf, leaf]), GOOD)
    two = two._replace(diverging=jnp.array([0, 3, 1]), ebfmi=jnp.array([1.0, 1.0, 0.1]))
    found = judge(two)
    assert found.summary() == "1 of 3 converged; low ebfmi: 1, divergences: 2"
    assert judge(GOOD).summary() == "1 of 1 converged"
    assert [line.split(":")[0] for line in found.reasons(1)] == ["divergences"]


def test_chains_from_the_prior_that_disagree_tell_of_other_modes(chains):
    """Two of four chains elsewhere: R-hat of the others is fine, and says so."""
    z = chains[:6, ..., [1]].copy()
    z[2, 2:] += 5  # the two from the prior
    z[4, 0] += 5  # one from the guide
    draws = draws_of(z)
    draws = draws._replace(from_prior=draws.from_prior.at[:, 2:].set(True))
    found = verdict(draws)
    assert Fault(int(found.faults[2])) & Fault.OTHER_MODES
    assert Fault(int(found.faults[4])) & Fault.CHAINS_DISAGREE
    assert np.flatnonzero(~np.asarray(found.converged)).tolist() == [2, 4]


@pytest.fixture(scope="module")
def arviz():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of 0.23: a future warning when it is imported
        import arviz
    return arviz


@pytest.mark.slow
@pytest.mark.parametrize("num_draws", [NUM_DRAWS, 101])
def test_agrees_with_arviz(arviz, chains, num_draws):
    """In double precision on both sides; the middle one of an odd number counts nowhere."""
    with jax.enable_x64(True):
        draws = draws_of(chains[..., :num_draws, :])
        found = diagnose(draws._replace(z=jnp.asarray(chains[..., :num_draws, :])))
    for row, latent in np.ndindex(NUM_BATCH, 3):
        z = chains[row, :, :num_draws, latent]
        np.testing.assert_allclose(found.rhat[row, latent], arviz.rhat(z), rtol=1e-5)
        np.testing.assert_allclose(found.ess_bulk[row, latent], arviz.ess(z), rtol=1e-5)
        tail = arviz.ess(z, method="tail", prob=(0.05, 0.95))
        np.testing.assert_allclose(found.ess_tail[row, latent], tail, rtol=1e-5)
        np.testing.assert_allclose(found.mcse_mean[row, latent], arviz.mcse(z), rtol=1e-5)
    for row in range(NUM_BATCH):
        energy = np.asarray(draws.energy[row], np.float64)
        np.testing.assert_allclose(found.ebfmi[row], np.min(arviz.bfmi(energy)), rtol=1e-5)


def test_works_inside_jit_and_of_chains_that_stand_still(chains):
    still = chains.copy()
    still[2] = 1.0

    @jax.jit
    def passes(draws):
        return verdict(draws).converged

    found = np.asarray(passes(draws_of(still[..., [1, 1, 1]])))
    assert np.flatnonzero(~found).tolist() == [2]
