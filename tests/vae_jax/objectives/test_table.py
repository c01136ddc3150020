"""A config's numbers reach the objective that it names."""

import typing

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

from bayes_jax.model import LatentModel
from vae_jax import configs, objectives
from vae_jax.configs import ObjectiveConfig

KEY, X = jax.random.key(0), jnp.array([0.4, -0.9])
MODEL = LatentModel(
    dist.Normal(jnp.zeros(2), 1.0).to_event(1), lambda z: dist.Normal(z, 0.7).to_event(1)
)


def guide(x):
    return dist.Normal(jnp.array([1.5, 0.1]) + x, 0.9).to_event(1)


# At step 4 of a warm-up of 10, whose first step sees a tenth.
CASES = [
    (ObjectiveConfig(num_samples=3), objectives.elbo_terms, {}),
    (ObjectiveConfig("iwae", num_samples=3), objectives.iwae_terms, {}),
    (ObjectiveConfig("stl", num_samples=3), objectives.stl_terms, {}),
    (ObjectiveConfig("dreg", num_samples=3), objectives.dreg_terms, {}),
    (
        ObjectiveConfig("beta", num_samples=3, beta=3.0, num_warmup_steps=10),
        objectives.beta_terms,
        {"beta": 1.5},
    ),
    (
        ObjectiveConfig("free_bits", num_samples=3, free_nats=0.9),
        objectives.free_bits_terms,
        {"free_nats": 0.9},
    ),
    (
        ObjectiveConfig("capacity", num_samples=3, capacity=7.0, weight=3.0, num_warmup_steps=10),
        objectives.capacity_terms,
        {"capacity": 3.5, "weight": 3.0},
    ),
]


def test_every_objective_has_a_case():
    assert {config.name for config, _, _ in CASES} == {*typing.get_args(configs.Objective)}


@pytest.mark.parametrize(("config", "terms", "options"), CASES)
def test_an_objective_has_the_numbers_of_its_config(config, terms, options):
    found = objectives.make_objective(config)(KEY, MODEL, guide, X, 4.0)
    expected = terms(KEY, MODEL, guide, X, num_samples=3, **options)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
