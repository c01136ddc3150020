"""The comparison's rows: the numbers are the engines', the order of models is the known one."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial
from numpyro import distributions as dist
from scipy import stats

from bayes_jax import InputError, LatentModel, simulate
from bayes_jax.exact import linear_gaussian, quadrature
from vae_jax.comparison import certificate, exhibit, inferences, methods, models
from vae_jax.configs import DataConfig, InferenceBudget
from vae_jax.data.arrays import load
from vae_jax.tables import Table, explanation

BUDGET = InferenceBudget(
    num_images=12,
    num_posteriors=6,
    num_temperatures_prior=100,
    num_temperatures_guide=30,
    num_elbo_samples=400,
    num_reference_draws=100,
    num_simulations=16,
)


def shifted_guide(params, x):
    """The exact posterior's moments without its correlations, shifted by a third of a scale."""
    exact = linear_gaussian.posterior(params, x)
    scale = jnp.sqrt(jnp.diagonal(exact.covariance_matrix))
    return dist.Normal(exact.mean + scale / 3, scale).to_event(1)


@pytest.fixture(scope="module")
def linear_setting():
    """A linear decoder of a 2-d latent, whose every number has a closed form."""
    params = linear_gaussian.LinearGaussian(
        jax.random.normal(jax.random.key(0), (6, 2)), jnp.zeros(6), jnp.full(6, 0.5)
    )
    model: LatentModel = linear_gaussian.latent_model(params)
    _, x = simulate(jax.random.key(1), model, BUDGET.num_images)
    setting = methods.Setting(model, Partial(shifted_guide, params), BUDGET)
    return setting, x, jax.vmap(lambda x: linear_gaussian.log_evidence(params, x))(x)


@pytest.fixture(scope="module")
def linear(linear_setting):
    """Every inference on it."""
    setting, x, exact = linear_setting
    finished = list(inferences.run_methods(jax.random.key(2), setting, x))
    return finished, {row["method"]: row for row in inferences.rows("linear", finished)}, exact


def test_every_method_has_a_row_and_its_claim(linear):
    finished, rows, exact = linear
    assert list(rows) == [method.name for method in methods.compared(2)]
    truth = float(jnp.mean(exact))
    assert rows[methods.EXACT]["kind"] == "exact"
    np.testing.assert_allclose(rows[methods.EXACT]["log_prob"], truth, atol=2e-3)
    for name, row in rows.items():
        if row["kind"] == "lower" and row["stderr"] is not None:
            assert row["log_prob"] < truth + 4 * row["stderr"] + 2e-3, name
            np.testing.assert_allclose(row["gap"], truth - row["log_prob"], atol=4e-3)
    assert len(finished) == len(rows)


def test_bounds_are_ordered_as_their_cost(linear):
    _, rows, _ = linear
    ladder = [methods.AMORTIZED, methods.MEAN_FIELD, methods.FULL_RANK]
    values = [rows[name]["log_prob"] for name in ladder]
    assert values[0] < values[1] < values[2]
    # A Gaussian posterior is full-rank's family: nothing is left.
    assert abs(rows[methods.FULL_RANK]["gap"]) < 5e-3


def test_amortized_gap_is_the_divergence(linear):
    """The guide's shift alone costs shift^2 / 2 in units of the conditional scale, at least."""
    _, rows, _ = linear
    assert rows[methods.AMORTIZED]["gap"] > 2 * 0.5 * (1 / 3) ** 2
    # Both means are of draws: so many standard deviations of a mean of that many.
    error = 4 / np.sqrt(BUDGET.num_elbo_samples)
    np.testing.assert_allclose(rows[methods.AMORTIZED]["mean_error"], 1 / 3, atol=error)


def test_chains_miss_the_mean_by_their_own_error(linear):
    """The mean square error in sds is a scaled chi-square, with the scale the chains report."""
    finished, rows, _ = linear
    diagnostics = inferences.find(finished, methods.HMC).outcome.verdict.diagnostics
    scale = inferences.find(finished, methods.EXACT).outcome.scale[: len(diagnostics.valid)]
    expected = np.asarray(diagnostics.mcse_mean / scale) ** 2
    most = np.mean(expected) * stats.chi2.ppf(1 - 6e-5, expected.size) / expected.size
    assert rows[methods.HMC]["mean_error"] ** 2 < most


def test_annealing_has_both_sides_on_simulated_images(linear):
    """Of a linear decoder, whose evidence is known for them too."""
    finished, _, _ = linear
    rows = certificate.rows("linear", finished)
    assert [row["method"] for row in rows] == [methods.ANNEALED_PRIOR, methods.ANNEALED_GUIDE]
    for row, name in zip(rows, (row["method"] for row in rows), strict=True):
        validation = inferences.find(finished, name).validation
        assert row["num_images"] == len(validation.x) == BUDGET.num_simulations
        assert row["width"] == pytest.approx(row["upper"] - row["log_prob"], abs=1e-4)
        assert abs(row["width"]) < 4 * row["width_stderr"] + 0.05
    shown = certificate.table("linear", finished)
    assert "probability of 95%" in explanation(shown)
    assert certificate.table("linear", finished[:1]) is None


def test_smc_agrees_with_the_closed_form(linear_setting):
    setting, x, exact = linear_setting
    found = methods.smc_method(from_guide=True).run(jax.random.key(5), setting, x).evidence
    error = np.asarray(found.lower - exact, np.float64)
    assert abs(error.mean()) < 4 * error.std(ddof=1) / np.sqrt(len(error)) + 0.01


def test_ladder_rises(linear):
    """Image by image, the bound of more samples is the higher one."""
    finished, rows, _ = linear
    names = [f"importance bound, K = {num}" for num in (1, 50, 5000)]
    bounds = [np.asarray(inferences.find(finished, name).outcome.evidence.lower) for name in names]
    for few, many in itertools.pairwise(bounds):
        rise = many - few
        assert np.mean(rise) > -4 * np.std(rise, ddof=1) / np.sqrt(len(rise))
    assert np.mean(bounds[2] - bounds[0]) > 0
    semi = rows[methods.SEMI_AMORTIZED]["log_prob"]
    assert rows[methods.AMORTIZED]["log_prob"] < semi < rows[methods.FULL_RANK]["log_prob"]


@pytest.mark.parametrize(
    "name", ["importance bound, K = 5000", "annealed from the prior", methods.ANNEALED_GUIDE]
)
def test_tight_bounds_arrive_within_their_error(linear, name):
    """The log of an unbiased estimate of relative variance v lies v / 2 below, to leading order."""
    finished, _, exact = linear
    evidence = inferences.find(finished, name).outcome.evidence
    variance = np.asarray(evidence.stderr_lower) ** 2
    error = 4 * np.sqrt(np.sum(variance)) / len(variance)
    gap = float(np.mean(exact - evidence.lower))
    assert -error < gap < error + np.mean(variance)


def test_decoder_calls_are_all_counted(linear):
    finished, rows, _ = linear
    draws = BUDGET.num_elbo_samples
    assert rows[methods.AMORTIZED]["decoder_calls"] == draws
    assert rows[methods.SEMI_AMORTIZED]["decoder_calls"] == 10 * 8 + draws
    full_rank = inferences.find(finished, methods.FULL_RANK).outcome.fitted
    steps = float(np.mean(full_rank.num_steps))
    # One check before the first window of 25 steps and one after each.
    spent = steps * 8 + (1 + steps / 25) * 64 + draws
    assert abs(rows[methods.FULL_RANK]["decoder_calls"] - spent) < 1
    assert steps < 500
    assert rows["importance bound, K = 5000"]["decoder_calls"] == 5000


def test_coverage_pairs_each_simulated_latent_with_its_own_posterior(linear):
    """Exact families cover 90%; latents paired with another image's draws would cover far less."""
    _, rows, _ = linear
    for name in (methods.FULL_RANK, methods.HMC):
        # Of so many coin tosses, as if the two latents of an image were one.
        stderr = np.sqrt(0.9 * 0.1 / rows[name]["num_images"])
        assert abs(rows[name]["coverage"] - 0.9) < 4 * stderr, name


def test_unresolved_quadrature_is_no_exact_row(linear):
    finished, _, _ = linear
    exact = inferences.find(finished, methods.EXACT)
    grid = exact.outcome.grid
    evidence = quadrature.evidence(grid.log_evidence, grid.error.at[0].set(0.02))
    doubtful = exact._replace(outcome=exact.outcome._replace(evidence=evidence))
    others = [entry for entry in finished if entry is not exact]
    rows = {row["method"]: row for row in inferences.rows("linear", [doubtful, *others])}
    assert rows[methods.EXACT]["kind"] == "estimate"
    bounds = [row["log_prob"] for row in rows.values() if row["kind"] == "lower"]
    assert min(row["gap"] for row in rows.values() if row["kind"] == "lower") == 0
    assert rows[methods.HMC]["mean_error"] is None  # it is the reference now
    assert len(bounds) == 9


def test_more_images_than_the_split_holds_are_refused():
    with pytest.raises(InputError, match="holds 359"):
        models.test_images(load(DataConfig()), InferenceBudget(num_images=400))


def test_tables_explain_what_a_header_cannot():
    table = Table("t", [], exhibit.INFERENCE_COLUMNS)
    for header in ("log p(x)", "kind", "below best", "mean error", "90% coverage", "k-hat"):
        assert header in explanation(table)
