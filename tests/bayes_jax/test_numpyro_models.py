"""Against NumPyro's own log densities and samplers, and against conjugate closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.diagnostics import effective_sample_size
from numpyro.handlers import scale
from numpyro.infer import MCMC, NUTS
from numpyro.infer.util import constrain_fn, log_density, potential_energy
from scipy.special import betaln, gammaln

from bayes_jax.errors import InputError
from bayes_jax.exact import quadrature, reference
from bayes_jax.model import log_joint, simulate
from bayes_jax.numpyro_models import constrain_latents, from_numpyro, to_numpyro

KEY = jax.random.key(0)
NUM_TRACES = 0


def hierarchy(covariate, num_groups, *, x=None):
    """A plate, a dependent support, a simplex, an array and an integer among the arguments."""
    tau = numpyro.sample("tau", dist.HalfNormal(2.0))
    weights = numpyro.sample("weights", dist.Dirichlet(jnp.ones(3)))
    with numpyro.plate("groups", num_groups):
        theta = numpyro.sample("theta", dist.Uniform(0.0, tau))
        loc = numpyro.deterministic("loc", theta * covariate + weights[0])
        numpyro.sample("x", dist.Normal(loc, 0.5), obs=x)


COVARIATE = jnp.array([0.5, -1.0, 2.0, 0.1])
X = jnp.array([0.3, -0.2, 1.9, 0.4])
SITES = {"tau": (), "weights": (2,), "theta": (4,)}


@pytest.fixture(scope="module")
def model():
    return from_numpyro(hierarchy, COVARIATE, 4)


def unflatten(z):
    parts = jnp.split(z, [1, 3])
    return {name: part.reshape(SITES[name]) for name, part in zip(SITES, parts, strict=True)}


def test_log_joint_equals_numpyros_potential_energy(model):
    assert model.prior.event_shape == (7,)
    z = jax.random.normal(KEY, (5, 7))

    @jax.vmap
    def numpyros(z):
        return -potential_energy(hierarchy, (COVARIATE, 4), {"x": X}, unflatten(z))

    @jax.jit
    def ours(model):  # the prior takes a batch of z, like any Distribution
        likelihood = jax.vmap(lambda z: model.likelihood(z).log_prob(X))
        return model.prior.log_prob(z) + likelihood(z)

    found = ours(model)
    np.testing.assert_allclose(found, jax.jit(numpyros)(z), rtol=1e-5)


def test_constrained_sites_equal_numpyros(model):
    z = jax.random.normal(KEY, (7,))
    found = constrain_latents(model, z)
    expected = constrain_fn(
        hierarchy, (COVARIATE, 4), {"x": X}, unflatten(z), return_deterministic=True
    )
    assert list(found) == ["tau", "weights", "theta", "loc"]
    for name in found:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-6)


def test_prior_samples_are_those_of_the_program(model):
    num = 4000
    draws = jax.jit(lambda prior: prior.sample(KEY, (num,)))(model.prior)
    assert draws.shape == (num, 7)
    values = jax.jit(jax.vmap(lambda z: constrain_latents(model, z)))(draws)
    tau, theta = np.asarray(values["tau"]), np.asarray(values["theta"])
    mean = 2 * np.sqrt(2 / np.pi)
    assert abs(tau.mean() - mean) < 5 * tau.std() / np.sqrt(num)
    share = theta / tau[:, None]  # uniform on (0, 1), whatever tau
    assert np.all(np.abs(share.mean(0) - 0.5) < 5 / np.sqrt(12 * num))
    assert abs(np.corrcoef(share[:, 0], tau)[0, 1]) < 5 / np.sqrt(num)


def beta_bernoulli(alpha, beta, num, x=None):
    bias = numpyro.sample("bias", dist.Beta(alpha, beta))
    with numpyro.plate("throws", num):
        numpyro.sample("x", dist.Bernoulli(bias), obs=x)


def gamma_poisson(shape, rate, num, counts=None):
    events = numpyro.sample("events", dist.Gamma(shape, rate))
    numpyro.sample("counts", dist.Poisson(events).expand([num]).to_event(1), obs=counts)


def test_beta_bernoulli_evidence_equals_the_closed_form():
    alpha, beta = np.array(2.0), np.array(0.7)
    x = np.array([[1, 1, 0, 1, 1, 0], [0, 0, 0, 0, 0, 0]])
    model = from_numpyro(beta_bernoulli, alpha, beta, 6)
    ones, zeros = x.sum(1), 6 - x.sum(1)
    expected = betaln(alpha + ones, beta + zeros) - betaln(alpha, beta)
    found = quadrature.log_evidence(model, x)
    np.testing.assert_allclose(found.lower, expected, atol=1e-3)


def test_gamma_poisson_posterior_equals_the_closed_form():
    shape, rate = np.array(1.5), np.array(0.5)
    x = np.array([[3, 5, 0, 2], [0, 1, 0, 0]])
    model = from_numpyro(gamma_poisson, shape, rate, 4, observed="counts")
    total = x.sum(1)
    expected = (
        gammaln(shape + total)
        - gammaln(shape)
        + shape * np.log(rate)
        - (shape + total) * np.log(rate + 4)
        - gammaln(x + 1).sum(1)
    )
    found = quadrature.posteriors(model, x)
    np.testing.assert_allclose(found.log_evidence, expected, atol=1e-3)
    constrain = jax.jit(jax.vmap(jax.vmap(lambda z: constrain_latents(model, z))))
    mean = jnp.sum(found.weights * constrain(found.points)["events"], axis=1)
    np.testing.assert_allclose(mean, (shape + total) / (rate + 4), rtol=1e-3)


def counted(offset, x=None):
    global NUM_TRACES
    NUM_TRACES += 1
    z = numpyro.sample("loc", dist.Normal(offset, 1.0))
    numpyro.sample("x", dist.Normal(z, 0.5).expand([2]).to_event(1), obs=x)


def test_a_model_made_again_traces_nothing_in_the_engines():
    def evidence(offset):
        model = from_numpyro(counted, jnp.asarray(offset))
        before = NUM_TRACES
        value = quadrature.log_evidence(model, jnp.ones((3, 2)), num_points=64).lower
        return value, NUM_TRACES - before

    first, num_first = evidence(0.0)
    second, num_second = evidence(1.0)
    assert num_first > 0
    assert num_second == 0
    assert jnp.all(second > first + 0.1)


def test_to_numpyro_has_the_log_joint_as_density():
    made = reference.nonlinear_bernoulli()
    z, x = simulate(KEY, made.model, 2)
    program = to_numpyro(made.model)
    found = jax.jit(lambda z, x: log_density(program, (x,), {}, {"z": z})[0])(z[0], x[0])
    np.testing.assert_allclose(found, jax.jit(log_joint)(made.model, z[0], x[0]), rtol=1e-6)


def test_to_numpyro_and_back_is_the_model():
    made = reference.linear_gaussian()
    back = from_numpyro(to_numpyro(made.model))
    z, x = simulate(KEY, made.model, 1)
    found, expected = (jax.jit(log_joint)(model, z[0], x[0]) for model in (back, made.model))
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_nuts_reaches_the_moments_of_the_reference():
    made = reference.linear_gaussian()
    x = simulate(jax.random.key(1), made.model, 1)[1]
    sampler = MCMC(
        NUTS(to_numpyro(made.model)),
        num_warmup=300,
        num_samples=1000,
        num_chains=2,
        chain_method="vectorized",
        progress_bar=False,
    )
    sampler.run(jax.random.key(2), x[0])
    draws = np.asarray(sampler.get_samples(group_by_chain=True)["z"])
    mean, covariance = (np.asarray(moment[0]) for moment in made.posterior_moments(x))
    stderr = np.sqrt(np.diag(covariance) / effective_sample_size(draws))
    assert np.all(np.abs(draws.mean((0, 1)) - mean) < 5 * stderr)
    square = np.prod(draws - mean, axis=-1, keepdims=True)  # its mean is the covariance
    stderr = square.std() / np.sqrt(effective_sample_size(square)[0])
    assert abs(square.mean() - covariance[0, 1]) < 5 * stderr
    assert stderr < 0.1 * abs(covariance[0, 1])


def broken(defect):
    """A program with one site that has no place in a LatentModel."""

    def program(x=None):
        z = numpyro.sample("fine", dist.Normal(0.0, 1.0))
        if defect == "discrete":
            numpyro.sample("culprit", dist.Poisson(3.0))
        elif defect == "has data":
            numpyro.sample("culprit", dist.Normal(z, 1.0), obs=0.3)
        elif defect == "factor":
            numpyro.factor("culprit", -z)
        elif defect == "improper":
            numpyro.sample("culprit", dist.ImproperUniform(dist.constraints.real, (), ()))
        elif defect == "masked":
            numpyro.sample("culprit", dist.Normal(0.0, 1.0).mask(False))
        elif defect == "scaled":
            with scale(scale=2.0):
                numpyro.sample("culprit", dist.Normal(0.0, 1.0))
        numpyro.sample("x", dist.Normal(z, 1.0), obs=x)
        if defect == "after":
            numpyro.sample("culprit", dist.Normal(0.0, 1.0))

    return program


@pytest.mark.parametrize(
    "defect", ["discrete", "has data", "factor", "improper", "masked", "scaled", "after"]
)
def test_refuses_sites_without_a_density_by_name(defect):
    with pytest.raises(InputError, match=f"'culprit' .*{defect}"):
        from_numpyro(broken(defect))


def test_refuses_programs_without_their_sites():
    with pytest.raises(InputError, match="no site 'y', only fine, x"):
        from_numpyro(broken(None), observed="y")
    with pytest.raises(InputError, match="no latent site"):
        from_numpyro(lambda: numpyro.sample("x", dist.Normal(0.0, 1.0)))
    with pytest.raises(InputError, match="not from from_numpyro"):
        constrain_latents(reference.linear_gaussian().model, jnp.zeros(2))
