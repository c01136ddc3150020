"""Every transition leaves f_beta as it is, and is its own reverse."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

from bayes_jax import InputError, LatentModel, annealed_evidence
from bayes_jax.annealing.chains import joint_density
from bayes_jax.annealing.moves import TRANSITIONS
from bayes_jax.annealing.path import check_gaussian, gaussian_prior
from bayes_jax.annealing.pilot import unscouted_path
from bayes_jax.annealing.schedules import sigmoid_schedule

NUM_CHAINS = 20_000
BETA = jnp.float32(0.6)


def skewed(z):
    """A Poisson count in one dimension: the posterior has no symmetry to hide behind."""
    return dist.Poisson(jnp.exp(1.0 + 1.5 * z)).to_event(1)


MODEL = LatentModel(dist.Normal(jnp.array([0.3]), 1.2).to_event(1), skewed)
X = jnp.array([4.0])


def tempered_draws(key):
    """Exact draws of (1 - beta) log q0 + beta log p(x, z), q0 the prior, off a fine grid."""
    grid = jnp.linspace(-8.0, 6.0, 200_001)
    log_density = jax.vmap(
        lambda z: MODEL.prior.log_prob(z[None]) + BETA * skewed(z[None]).log_prob(X)
    )(grid)
    cumulative = jnp.cumsum(jax.nn.softmax(log_density))
    return jnp.interp(jax.random.uniform(key, (NUM_CHAINS,)), cumulative, grid)[:, None]


@pytest.mark.slow
@pytest.mark.parametrize("name", list(TRANSITIONS))
def test_moves_keep_the_tempered_posterior_and_are_reversible(name):
    """Chains that start in f_beta stay in it, and (before, after) is as (after, before)."""
    transition = TRANSITIONS[name]
    density = joint_density(MODEL, X)
    start = gaussian_prior(MODEL.prior)
    path = unscouted_path(start, start.factor, jnp.array([4.0]), sigmoid_schedule(10))
    target = transition.target(density, start)
    before = tempered_draws(jax.random.key(0))
    points = jax.vmap(target.start)(before)
    moved = transition.move(jax.random.key(1), target, path, points, BETA, jnp.full((), 0.6), 2)
    a, b = np.asarray(before[:, 0], np.float64), np.asarray(moved.points.position[:, 0], np.float64)
    assert np.mean(a != b) > 0.6
    assert np.corrcoef(a, b)[0, 1] < 0.8
    for odd in (b - a, b**2 - a**2, b**3 - a**3, a * b * (b - a), (b - a) ** 3):
        # Each has mean zero under a reversible move that keeps f_beta.
        assert abs(odd.mean()) < 4 * odd.std(ddof=1) / np.sqrt(NUM_CHAINS)
    # However rough the forces, the weights are gathered in full precision.
    bridge = jax.vmap(lambda z: density(z) - start.log_prob(z))(moved.points.position)
    np.testing.assert_allclose(moved.points.terms.bridge, bridge, rtol=1e-6, atol=1e-4)
    assert int(moved.num_grads) >= NUM_CHAINS


@pytest.mark.parametrize("from_guide", [False, True])
def test_elliptical_annealing_is_unbiased(cases, from_guide):
    case = cases("poisson")
    evidence = annealed_evidence(
        jax.random.key(2),
        case.model,
        case.x,
        guide=case.guide if from_guide else None,
        num_temperatures=100,
        transition="elliptical",
    )
    error = np.asarray(evidence.lower - case.log_evidence, np.float64)
    stderr = np.asarray(evidence.stderr_lower, np.float64)
    spread = np.sqrt((stderr**2).sum()) / len(stderr)
    # The bias of the log of a mean is half its variance.
    assert abs(error.mean() + 0.5 * (stderr**2).mean()) < 4 * spread
    assert spread < 0.05


def test_a_gaussian_start_multiplies_in_full_precision():
    """Where the default is less, q0 would not be normalised: in values, gradients and draws."""
    start = gaussian_prior(dist.Normal(jnp.zeros(3), 1.3).to_event(1))
    z = jnp.ones(3)
    with jax.default_matmul_precision("bfloat16"):
        traced = (
            jax.make_jaxpr(start.log_prob)(z),
            jax.make_jaxpr(jax.grad(start.log_prob))(z),
            jax.make_jaxpr(start.sample)(jax.random.key(0)),
        )
    for jaxpr in traced:
        products = [line for line in jaxpr.eqns if line.primitive.name == "dot_general"]
        assert products
        for product in products:
            assert set(product.params["precision"]) == {jax.lax.Precision.HIGHEST}


def test_a_prior_is_gaussian_by_its_density_and_not_by_its_class(cases):
    full = dist.MultivariateNormal(jnp.ones(2), jnp.array([[2.0, 0.5], [0.5, 1.0]]))
    check_gaussian(full)
    z = jnp.array([0.2, -1.0])
    assert float(gaussian_prior(full).log_prob(z)) == pytest.approx(float(full.log_prob(z)), 1e-5)
    laplace = dist.Laplace(jnp.zeros(2), 1.0).to_event(1)
    for prior in (cases("mixture_prior").model.prior, laplace):
        with pytest.raises(InputError, match="not Gaussian: elliptical moves need"):
            check_gaussian(prior)
    with pytest.raises(InputError, match="transition is 'gibbs': expected hmc, hmc_bfl"):
        annealed_evidence(jax.random.key(0), MODEL, X[None], transition="gibbs")
