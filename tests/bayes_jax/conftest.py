"""Models with known answers, and observations simulated from them, shared by the engine tests."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
import pytest
from jax.tree_util import Partial

from bayes_jax import LatentModel, simulate
from bayes_jax.exact.reference import REFERENCES, Reference

NUM_OBSERVATIONS = 64


class Case(NamedTuple):
    """A reference with observations and its answers for them."""

    name: str
    model: LatentModel
    guide: Partial
    z: jax.Array
    x: jax.Array
    log_evidence: jax.Array
    mean: jax.Array
    covariance: jax.Array


def moment_guide(params, x):
    """The Gaussian of given moments for the observation that stands in its own row of a table."""
    table, loc, scale = params
    row = jnp.argmin(jnp.sum((table - x) ** 2, axis=-1))
    return dist.Normal(loc[row], scale[row]).to_event(1)


def make_case(reference: Reference) -> Case:
    z, x = simulate(jax.random.key(7), reference.model, NUM_OBSERVATIONS)
    x = x.astype(jnp.float32)
    mean, covariance = reference.posterior_moments(x)
    # A guide that is good but not exact: shifted by 0.3 and widened by 1.3 standard deviations.
    scale = jnp.sqrt(jnp.diagonal(covariance, axis1=-2, axis2=-1))
    guide = Partial(moment_guide, (x, mean + 0.3 * scale, 1.3 * scale))
    log_evidence = reference.log_evidence(x)
    return Case(reference.name, reference.model, guide, z, x, log_evidence, mean, covariance)


_CASES: dict[str, Case] = {}


def case_of(name: str) -> Case:
    if name not in _CASES:
        _CASES[name] = make_case(REFERENCES[name]())
    return _CASES[name]


@pytest.fixture(params=list(REFERENCES))
def case(request) -> Case:
    """Every reference in turn."""
    return case_of(request.param)


@pytest.fixture
def linear_case() -> Case:
    return case_of("linear_gaussian")


@pytest.fixture
def nonlinear_case() -> Case:
    return case_of("nonlinear_bernoulli")


@pytest.fixture
def cases():
    """name -> Case, for tests that choose."""
    return case_of
