"""The table of gaps: which evidence it takes, what its rows say, against a closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial
from numpyro import distributions as dist

from bayes_jax import simulate
from bayes_jax.annealing.validation import certify
from bayes_jax.estimates import (
    estimated_evidence,
    exact_evidence,
    lower_evidence,
    sandwich_evidence,
)
from bayes_jax.exact import linear_gaussian
from bayes_jax.variational import FittedPosterior
from vae_jax.comparison import gap_table, inferences, methods
from vae_jax.comparison.inferences import Finished
from vae_jax.comparison.methods import Method, Outcome, Setting
from vae_jax.configs import InferenceBudget
from vae_jax.tables import explanation

LOG_P = jnp.array([-3.0, -4.0])
ZERO = jnp.zeros(2)
IMPORTANCE = "importance bound, K = 5000"
WIDTH = 0.25


def finished(**outcomes) -> list[Finished]:
    """Methods that found this evidence, the encoder and q* 3 and 2 nats below log p(x)."""
    fitted = FittedPosterior(**dict.fromkeys(FittedPosterior._fields, ZERO))
    fitted = fitted._replace(log_weight=jnp.full((2, 4), LOG_P[:, None] - 2))
    found = {name: Outcome(evidence=evidence) for name, evidence in outcomes.items()}
    found[methods.AMORTIZED] = Outcome(evidence=lower_evidence(LOG_P - 3, ZERO))
    found[methods.MEAN_FIELD] = Outcome(evidence=lower_evidence(LOG_P - 2, ZERO), fitted=fitted)
    return [Finished(Method(name, None), outcome, None, 0, 0) for name, outcome in found.items()]


def below(*nats):
    return lower_evidence(LOG_P - jnp.array(nats), ZERO)


def validated(entries, name, width=WIDTH):
    """That method with a sandwich of the same width on each of 4 simulated images."""
    x = jnp.arange(4.0)
    sides = certify(sandwich_evidence(x, x + width, 0 * x), x[:, None], x[:, None], confidence=0.95)
    return [e._replace(validation=sides) if e.method.name == name else e for e in entries]


def best(entries):
    return gap_table.best_evidence(entries).method.name


def test_an_exact_value_is_the_best_evidence():
    known = {methods.EXACT: exact_evidence(LOG_P), methods.ANNEALED_GUIDE: below(-1, -1)}
    assert best(finished(**known)) == methods.EXACT
    # What quadrature did not resolve is no value to hold a bound against.
    known[methods.EXACT] = estimated_evidence(LOG_P + 5, ZERO)
    assert best(finished(**known)) == methods.ANNEALED_GUIDE


def test_the_highest_bound_is_the_best_evidence():
    bounds = {methods.ANNEALED_GUIDE: below(0.5, 0.6), IMPORTANCE: below(0.1, 0.2)}
    assert best(finished(**bounds)) == IMPORTANCE
    bounds[IMPORTANCE] = below(0.6, 0.7)
    assert best(finished(**bounds)) == methods.ANNEALED_GUIDE


def test_of_two_that_are_level_the_measured_one_is_taken():
    bounds = {methods.ANNEALED_GUIDE: below(0.5, 0.5), IMPORTANCE: below(0.9, 0.0)}
    assert best(finished(**bounds)) == IMPORTANCE
    assert best(validated(finished(**bounds), methods.ANNEALED_GUIDE)) == methods.ANNEALED_GUIDE
    bounds[IMPORTANCE] = below(0.1, 0.2)
    assert best(validated(finished(**bounds), methods.ANNEALED_GUIDE)) == IMPORTANCE


def test_of_two_that_are_measured_the_tighter_one_is_taken():
    bounds = {methods.ANNEALED_PRIOR: below(0.1, 0.2), methods.ANNEALED_GUIDE: below(0.2, 0.1)}
    entries = validated(finished(**bounds), methods.ANNEALED_PRIOR, 0.5)
    assert best(validated(entries, methods.ANNEALED_GUIDE, 0.02)) == methods.ANNEALED_GUIDE
    assert best(validated(entries, methods.ANNEALED_GUIDE, 0.9)) == methods.ANNEALED_PRIOR


@pytest.mark.parametrize("is_measured", [True, False])
@pytest.mark.parametrize("first", [methods.ANNEALED_PRIOR, methods.ANNEALED_GUIDE])
def test_a_bound_that_is_no_number_is_not_the_best_evidence(first, is_measured):
    second = {methods.ANNEALED_PRIOR: methods.ANNEALED_GUIDE}.get(first, methods.ANNEALED_PRIOR)
    entries = finished(**{first: below(jnp.nan, 0.1), second: below(0.2, 0.3)})
    if is_measured:
        entries = validated(validated(entries, first), second)
    assert best(entries) == second
    entries = finished(**{first: below(0.2, 0.3), second: below(jnp.nan, 0.1)})
    assert best(entries) == first


def test_other_images_are_held_against_the_same_method():
    bounds = {methods.ANNEALED_GUIDE: below(0.5, 0.5), IMPORTANCE: below(0.1, 0.2)}
    gaps = gap_table.decomposition(finished(**bounds), evidence_of=methods.ANNEALED_GUIDE)
    np.testing.assert_array_equal(gaps.log_evidence, LOG_P - 0.5)


def test_of_several_families_the_smallest_is_the_encoders():
    fitted = FittedPosterior(**dict.fromkeys(FittedPosterior._fields, ZERO))
    fitted = fitted._replace(log_weight=jnp.full((2, 4), LOG_P[:, None]))
    wider = Finished(Method(methods.FULL_RANK, None), Outcome(fitted=fitted), None, 0, 0)
    entries = finished(**{methods.EXACT: exact_evidence(LOG_P)})
    np.testing.assert_allclose(gap_table.decomposition([wider, *entries]).approximation, 2)


def test_the_width_is_the_error_bar_of_what_the_evidence_is_part_of():
    entries = validated(
        finished(**{methods.ANNEALED_GUIDE: below(0.5, 0.5)}), methods.ANNEALED_GUIDE
    )
    approximation, amortization, total = gap_table.rows("a", gap_table.decomposition(entries))
    assert [row["gap"] for row in (approximation, amortization, total)] == [1.5, 1, 2.5]
    assert approximation["evidence_width"] == total["evidence_width"] == pytest.approx(WIDTH)
    assert amortization["evidence_width"] == 0


def test_a_model_without_a_guide_has_no_gaps():
    entries = [e for e in finished() if e.method.name != methods.AMORTIZED]
    assert gap_table.decomposition(entries) is None


@pytest.mark.slow
def test_rows_of_a_linear_decoder_are_its_divergences():
    """A diagonal guide off by a third of a scale: both gaps have a closed form."""
    params = linear_gaussian.LinearGaussian(
        jax.random.normal(jax.random.key(0), (6, 2)), jnp.zeros(6), jnp.full(6, 0.5)
    )
    _, x = simulate(jax.random.key(1), linear_gaussian.latent_model(params), 12)
    # q* of a Gaussian posterior has its mean and the inverse of its precision's diagonal.
    exact = linear_gaussian.posterior(params, x[0])
    precision = jnp.linalg.inv(exact.covariance_matrix)
    best_scale = jnp.diagonal(precision) ** -0.5

    def guide(x):
        mean = linear_gaussian.posterior(params, x).mean
        return dist.Normal(mean + best_scale / 3, best_scale).to_event(1)

    budget = InferenceBudget(num_temperatures_guide=30, num_elbo_samples=400, num_simulations=0)
    setting = Setting(linear_gaussian.latent_model(params), Partial(guide), budget)
    wanted = (methods.EXACT, methods.AMORTIZED, methods.MEAN_FIELD)
    entries = [
        Finished(method, method.run(jax.random.key(2), setting, x), None, 0, 0)
        for method in methods.compared(2)
        if method.name in wanted
    ]
    table = gap_table.table("linear", gap_table.decomposition(entries))
    approximation, amortization, total = table.rows
    family = 0.5 * (2 * jnp.sum(jnp.log(1 / best_scale)) - jnp.linalg.slogdet(precision)[1])
    # A shift of a third of a scale in each of 2 latents, none of which is correlated in q.
    shift = best_scale / 3
    encoder = 0.5 * shift @ precision @ shift
    for row, expected in ((approximation, family), (amortization, encoder)):
        assert abs(row["gap"] - expected) < 4 * row["stderr"] + 2e-3, row["method"]
    assert total["gap"] == pytest.approx(approximation["gap"] + amortization["gap"], abs=1e-5)
    assert total["evidence_width"] == 0
    assert "What limits this model: the decoder" in explanation(table)
    assert inferences.find(entries, methods.EXACT) is gap_table.best_evidence(entries)
