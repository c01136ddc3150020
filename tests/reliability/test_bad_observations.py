"""An x whose density is NaN or infinite somewhere is flagged, and moves no other by a bit."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from jax.tree_util import Partial

import bayes_jax
from bayes_jax import LatentModel, fit_posterior, sample_posterior, simulate, verdict
from bayes_jax.annealing import reverse_evidence
from bayes_jax.diagnostics import Fault
from bayes_jax.exact import quadrature
from bayes_jax.imputation import impute_by_mcmc, impute_by_pseudo_gibbs
from bayes_jax.missing import condition
from bayes_jax.smc import smc_runs

KEY = jax.random.key(0)
NUM_IMAGES = 6
PRIOR = dist.Normal(jnp.zeros(2), 1.0).to_event(1)


class Spoiled(dist.Distribution):
    """Normal around a line through z; of a marked x, `bad` is added where z[0] > 0.5."""

    support = dist.constraints.real_vector
    pytree_data_fields = ("bad", "z")

    def __init__(self, bad, z):
        self.bad, self.z = bad, z
        super().__init__((), (3,))

    @property
    def good(self):
        return dist.Normal(self.z[0] * jnp.array([0.0, 1.0, 0.5]) + self.z[1], 1.0).to_event(1)

    def sample(self, key, sample_shape=()):
        return self.good.sample(key, sample_shape)

    def log_prob(self, x):
        return self.good.log_prob(x.at[..., 0].set(0.0)) + self.badness(x)

    def badness(self, x):
        return jnp.where((x[..., 0] > 9) & (self.z[0] > 0.5), self.bad, 0.0)


@condition.register
def _(distribution: Spoiled, x, missing):
    found = condition(distribution.good, x.at[0].set(0.0), missing)
    return found._replace(log_prob=found.log_prob + distribution.badness(x))


def spoiled(bad):
    return LatentModel(PRIOR, Partial(Spoiled, jnp.float32(bad)))


def guide(x):
    return dist.Normal(0.3 * x[1:], 1.0).to_event(1)


def marked(image):
    x = np.random.default_rng(1).normal(size=(NUM_IMAGES, 3)).astype(np.float32)
    x[:, 0] = 0.0
    x[image, 0] = 10.0
    return jnp.asarray(x)


def of_chains(kernel):
    """A proposal whose density is no number is rejected, as diverging: the verdict tells of it."""

    def run(model, x):
        draws = sample_posterior(
            KEY, model, x, kernel=kernel, num_warmup=40, num_samples=60, num_chains=4
        )
        found = verdict(draws)
        is_good = (found.faults & (Fault.NOT_FINITE | Fault.DIVERGENCES)) == 0
        assert not np.any(found.converged & ~is_good)
        return is_good, (draws.z, draws.log_joint)

    return run


def of_evidence(engine, *, pairs=False, **options):
    def run(model, x):
        observed = (simulate(KEY, model, NUM_IMAGES)[0], x) if pairs else (x,)
        evidence = engine(KEY, model, *observed, **options)
        return evidence.valid, (evidence.lower, evidence.upper, evidence.stderr_lower)

    return run


def of_fit(model, x):
    fitted = fit_posterior(KEY, model, x, num_steps=150)
    return fitted.elbo().valid, (fitted.params, fitted.log_weight)


def smc_evidence(*args, **options):
    return smc_runs(*args, **options).evidence()


def of_imputation(impute, **options):
    def run(model, x):
        missing = jnp.zeros(x.shape, bool).at[:, 2].set(True)
        found = impute(KEY, model, x, missing, num_imputations=20, num_samples=30, **options)
        return found.valid, (found.x, found.mean, found.z)

    return run


def of_lattice(model, x):
    grid = quadrature.posteriors(model, x, num_points=32)
    evidence = quadrature.evidence(grid.log_evidence, grid.error)
    return evidence.valid, (evidence.lower,)


FEW = {"num_temperatures": 30, "num_chains": 8}
ENGINES = {
    "importance": of_evidence(bayes_jax.importance_bound, guide=guide, num_samples=50),
    "ELBO": of_evidence(bayes_jax.elbo, guide=guide, num_samples=50),
    "annealing": of_evidence(bayes_jax.annealed_evidence, **FEW),
    "annealing, adaptive": of_evidence(bayes_jax.annealed_evidence, schedule="adaptive", **FEW),
    "annealing, guide": of_evidence(bayes_jax.annealed_evidence, guide=guide, **FEW),
    "annealing, elliptical": of_evidence(
        bayes_jax.annealed_evidence, transition="elliptical", **FEW
    ),
    "annealing, bfloat16": of_evidence(
        bayes_jax.annealed_evidence, transition="hmc_bfloat16", **FEW
    ),
    "sandwich": of_evidence(bayes_jax.evidence_sandwich, pairs=True, **FEW),
    "reverse": of_evidence(reverse_evidence, num_samples=40, **FEW),
    "smc": of_evidence(smc_evidence, num_temperatures=30),
    "lattice": of_lattice,
    "HMC": of_chains("hmc"),
    "NUTS": of_chains("nuts"),
    "q*": of_fit,
    "imputation": of_imputation(impute_by_mcmc, num_warmup=40),
    "imputation, pseudo-Gibbs": of_imputation(impute_by_pseudo_gibbs, guide=guide),
    "imputation, Metropolis": of_imputation(impute_by_pseudo_gibbs, guide=guide, corrected=True),
}


LONG = ("annealing, adaptive", "annealing, guide", "annealing, bfloat16", "reverse", "NUTS")


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.long if name in LONG else ()) for name in ENGINES],
)
def test_the_bad_x_is_flagged_and_no_other_moves(name):
    """Two places and two values for each engine; both make a number that is no density."""
    run, rng = ENGINES[name], np.random.default_rng(len(name))
    for bad in (np.nan, np.inf):
        for image in rng.choice(NUM_IMAGES, 2, replace=False):
            x, others = marked(image), np.arange(NUM_IMAGES) != image
            valid, found = run(spoiled(bad), x)
            np.testing.assert_array_equal(valid, others)
            expected_valid, expected = run(spoiled(0.0), x)
            assert expected_valid.all()
            for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
                np.testing.assert_array_equal(one[others], other[others])


def test_a_mean_over_images_is_no_number_beside_a_bad_one():
    evidence = bayes_jax.annealed_evidence(KEY, spoiled(np.inf), marked(2), **FEW)
    assert np.isnan(np.mean(evidence.lower))
    assert np.isnan(evidence.lower[2])
