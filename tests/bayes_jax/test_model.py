"""The vocabulary: log_joint by hand, simulate by its moments, and observations it refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from jax.tree_util import Partial
from scipy.stats import norm
from scipy.stats import poisson as scipy_poisson

from bayes_jax.errors import InputError
from bayes_jax.exact import reference
from bayes_jax.model import (
    LatentModel,
    check_observations,
    compilable,
    latent_dim,
    log_joint,
    simulate,
)

KEY = jax.random.key(0)
NUM_TRACES = 0


def standard_normal(dim):
    return dist.Normal(jnp.zeros(dim), jnp.ones(dim)).to_event(1)


def bernoulli(loading, z):
    global NUM_TRACES
    NUM_TRACES += 1
    return dist.Bernoulli(logits=loading @ z).to_event(1)


@pytest.fixture
def binary() -> LatentModel:
    return LatentModel(standard_normal(2), Partial(bernoulli, jnp.ones((4, 2))))


def test_log_joint_by_hand():
    model = reference.poisson().model
    z, x = 0.4, np.array([2, 0, 1])
    rate = np.exp(np.array([0.0, -1.0, 0.5]) + np.array([1.0, 1.5, -0.3]) * z)
    expected = norm.logpdf(z) + scipy_poisson.logpmf(x, rate).sum()
    np.testing.assert_allclose(log_joint(model, jnp.array([z]), x), expected, rtol=1e-6)


def test_simulated_pairs_have_the_moments_of_the_joint():
    num, made = 20_000, reference.linear_gaussian()
    params = made.model.likelihood.args[0]
    z, x = (np.asarray(draws, np.float64) for draws in simulate(KEY, made.model, num))
    covariance = np.eye(2) @ np.asarray(params.loading).T
    marginal = np.sum(np.asarray(params.loading) ** 2, axis=1) + np.asarray(params.variance)
    assert np.all(np.abs(z.mean(0)) < 5 / np.sqrt(num))
    assert np.all(np.abs(x.mean(0) - params.mean) < 5 * np.sqrt(marginal / num))
    products = z[:, :, None] * (x - np.asarray(params.mean))[:, None, :]
    stderr = products.std(0) / np.sqrt(num)
    assert np.all(np.abs(products.mean(0) - covariance) < 5 * stderr)


def constant(loc, z):
    return dist.Normal(loc, 1.0).to_event(1)


def test_rows_of_a_simulation_have_their_own_noise():
    model = LatentModel(standard_normal(2), Partial(constant, jnp.zeros(3)))
    z, x = simulate(KEY, model, 50)
    assert len(np.unique(z)) == z.size
    assert len(np.unique(x)) == x.size
    # z and x of one row are drawn from different keys.
    correlation = np.corrcoef(np.asarray(z)[:, 0], np.asarray(x)[:, 0])[0, 1]
    assert abs(correlation) < 5 / np.sqrt(50)


def test_simulate_and_checks_compile_once_for_all_params(binary):
    x = simulate(KEY, binary, 5)[1]
    check_observations(binary, x)
    before = NUM_TRACES
    other = binary._replace(likelihood=Partial(bernoulli, -jnp.ones((4, 2))))
    check_observations(other, simulate(jax.random.key(1), other, 5)[1])
    assert before == NUM_TRACES


@pytest.mark.parametrize(
    ("x", "words"),
    [
        (np.array([[0, 1, 0, 1], [0, 0.5, 1, 1]]), r"x\[1\] .*support.*1 of 2"),
        (np.array([[np.nan, 1, 0, 1]]), r"x\[0\] .*support"),
        (np.zeros((2, 3)), r"shape \(3,\), the model has \(4,\)"),
        (np.zeros((0, 4)), "no observations"),
        (np.zeros(()), "no observations"),
    ],
)
def test_bernoulli_refuses(binary, x, words):
    with pytest.raises(InputError, match=words) as error:
        check_observations(binary, x)
    assert "\n" not in str(error.value)


def test_gaussian_refuses_nan_and_infinity_and_counts_refuse_fractions():
    gaussian, counts = reference.linear_gaussian().model, reference.poisson().model
    check_observations(gaussian, np.array([[0.5, 1e6, -3, 0, 0]]))
    check_observations(counts, np.array([[0, 7, 1]]))
    for bad in (np.nan, np.inf):
        with pytest.raises(InputError, match=r"x\[1\] .*real"):
            check_observations(gaussian, np.array([np.zeros(5), [0, 0, bad, 0, 0]]))
    with pytest.raises(InputError, match=r"x\[0\]"):
        check_observations(counts, np.array([[0.0, -1.0, 2.0]]))


def test_latent_dim_wants_one_vector(binary):
    assert latent_dim(binary) == 2
    for prior in (dist.Normal(0.0, 1.0), dist.Normal(jnp.zeros(2), 1.0)):
        with pytest.raises(InputError, match="to_event"):
            latent_dim(binary._replace(prior=prior))


def test_plain_functions_become_pytrees_and_partials_stay(binary):
    assert compilable(None) is None
    assert compilable(binary).likelihood is binary.likelihood
    plain = LatentModel(binary.prior, lambda z: dist.Normal(z, 1.0).to_event(1))
    assert isinstance(compilable(plain).likelihood, Partial)
    assert simulate(KEY, plain, 3)[1].shape == (3, 2)
