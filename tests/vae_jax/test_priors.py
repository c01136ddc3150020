"""p(z) of every family: total probability, draws, and the numbers of the known ones."""

import typing

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
import scipy.stats
from jax.tree_util import Partial

from vae_jax import configs, posteriors, priors
from vae_jax.configs import ObservationSpec, PosteriorConfig, PriorConfig

from .conftest import few, moved_by_others, shaken

NAMES = sorted(priors.PRIORS)
SPEC = ObservationSpec(4, "bernoulli")
X = (np.random.default_rng(0).random((30, 4)) < 0.5).astype(np.uint8)


def encode(weights, x):
    return posteriors.mean_field(weights @ x)


GUIDE = Partial(encode, jax.random.normal(jax.random.key(5), (4, 4)))


def flow_guide(family):
    """A guide of a family, with weights far from where training starts."""
    posterior = posteriors.make_posterior(PosteriorConfig(family, **few(family)), 2)
    params = posterior.initial_params(jax.random.key(6))
    keys = iter(jax.random.split(jax.random.key(7), 100))
    noisy = jax.tree.map(lambda leaf: leaf + jax.random.normal(next(keys), leaf.shape), params)
    kernel = 0.7 * jax.random.normal(jax.random.key(8), (posterior.num_features, 4))
    return lambda x: posterior.distribution(kernel @ x, noisy)


def some(name, spread=0.3, guide=GUIDE):
    prior = priors.make_prior(PriorConfig(name, **few(name)), 2, SPEC)
    params = prior.initial_params(jax.random.key(0), X)
    leaves, treedef = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(1), len(leaves) + 1)
    noisy = [
        leaf + spread * jax.random.normal(key, leaf.shape)
        for leaf, key in zip(leaves, keys[1:], strict=True)
    ]
    return prior.distribution(jax.tree.unflatten(treedef, noisy), guide)


def grid():
    axis = jnp.linspace(-14.0, 14.0, 1401)
    points = jnp.stack(jnp.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    return points, float(axis[1] - axis[0]) ** 2


def test_the_table_and_the_configs_name_the_same_families():
    assert set(NAMES) == set(typing.get_args(configs.PriorName))


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_density_integrates_to_one_and_is_that_of_its_draws(name):
    assert_lawful(some(name))


@pytest.mark.slow
@pytest.mark.parametrize(
    "family",
    [
        pytest.param(name, marks=() if name in ("full_rank", "iaf") else pytest.mark.long)
        for name in sorted(set(posteriors.POSTERIORS) - {"mean_field"})
    ],
)
def test_vamp_is_as_lawful_under_every_posterior(family):
    assert_lawful(some("vamp", guide=flow_guide(family)))


def assert_lawful(prior):
    """Total probability, and the moments of its draws by a grid over the density."""
    assert (prior.batch_shape, prior.event_shape) == ((), (2,))
    points, cell = grid()
    mass = np.exp(np.asarray(prior.log_prob(points), np.float64)) * cell
    np.testing.assert_allclose(mass.sum(), 1, atol=5e-3)
    z = np.asarray(prior.sample(jax.random.key(3), (50_000,)), np.float64)
    for power in (1, 2):
        expected = mass @ np.asarray(points, np.float64) ** power
        stderr = (z**power).std(axis=0) / np.sqrt(len(z))
        np.testing.assert_array_less(abs((z**power).mean(axis=0) - expected), 4.5 * stderr)


def test_layers_of_a_flow_take_turns_so_that_every_coordinate_is_moved_by_others():
    prior = priors.make_prior(PriorConfig("flow", num_layers=2, hidden_dim=16), 3, SPEC)
    flow = prior.distribution(shaken(prior.initial_params(jax.random.key(0), X)), GUIDE)
    assert np.all(moved_by_others(flow, jnp.array([-1.0, -0.4, 0.2])) > 1e-3)


def test_standard_normal():
    z = np.array([0.3, -1.0, 2.0])
    prior = priors.standard_normal(3)
    assert (prior.batch_shape, prior.event_shape) == ((), (3,))
    np.testing.assert_allclose(prior.log_prob(z), scipy.stats.norm.logpdf(z).sum(), rtol=1e-6)


def test_vamp_is_the_weighted_mixture_of_what_the_guide_makes_of_its_inputs():
    unconstrained = jnp.array([[0.0, 1.0, 0.5, 0.2], [9.0, 1.0, -3.0, 0.0], [0.3, 0.3, 2.0, -1.0]])
    logits, z = jnp.array([0.0, 1.0, -0.5]), jnp.array([0.4, -0.7])
    found = priors.vamp(logits, unconstrained, GUIDE, pixels=lambda share: 3 * share).log_prob(z)
    parts = jnp.stack([GUIDE(3 / (1 + jnp.exp(-x))).log_prob(z) for x in unconstrained])
    expected = jax.scipy.special.logsumexp(jax.nn.log_softmax(logits) + parts)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_pseudo_inputs_start_near_observations_and_learn():
    prior = priors.make_prior(PriorConfig("vamp", 7), 2, SPEC)
    params = prior.initial_params(jax.random.key(0), X)
    inputs = np.asarray(jax.nn.sigmoid(params["unconstrained"]))
    assert inputs.shape == (7, 4)
    np.testing.assert_allclose(abs(inputs - np.round(inputs)), 0.05, rtol=1e-4)
    assert {tuple(row) for row in np.round(inputs)} <= {tuple(row) for row in X}

    def log_prob(params):
        return prior.distribution(params, GUIDE).log_prob(jnp.array([0.4, -0.7]))

    gradient = np.asarray(jax.grad(log_prob)(params)["unconstrained"])
    assert np.mean(gradient != 0) > 0.9


def test_pseudo_inputs_of_counts_start_near_small_ones_too():
    """Drawn in by 5 % of the largest one's logarithm: 5 % of itself would be far from most."""
    x = np.array([[0, 1, 7, 5000], [3, 0, 40, 200]])
    prior = priors.make_prior(PriorConfig("vamp", 20), 2, ObservationSpec(4, "poisson", 1e-4, 5001))
    params = prior.initial_params(jax.random.key(0), x)
    mixture = prior.distribution(params, lambda x: dist.Normal(x, 1.0).to_event(1))
    seen = jax.vmap(lambda component: component.mean)(mixture.components)
    share = np.log1p(x) / np.log1p(5000)
    expected = np.expm1((0.05 + 0.9 * share) * np.log1p(5000))
    gap = np.abs(np.asarray(seen)[:, None] / expected - 1).max(axis=-1)
    assert gap.min(axis=1).max() < 1e-4
    assert expected.min() < 1
