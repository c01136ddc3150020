"""Models with known answers, and observations simulated from them, shared by the engine tests."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import pytest
from jax.tree_util import Partial

from bayes_jax import LatentModel, simulate
from bayes_jax.exact.reference import REFERENCES, Reference, shifted_guide

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


def make_case(reference: Reference) -> Case:
    z, x = simulate(jax.random.key(7), reference.model, NUM_OBSERVATIONS)
    x = x.astype(jnp.float32)
    mean, covariance = reference.posterior_moments(x)
    guide = shifted_guide(reference, x)
    log_evidence = reference.log_evidence(x)
    return Case(reference.name, reference.model, guide, z, x, log_evidence, mean, covariance)


_CASES: dict[str, Case] = {}


def case_of(name: str) -> Case:
    if name not in _CASES:
        _CASES[name] = make_case(REFERENCES[name]())
    return _CASES[name]


#: A Gaussian, a multimodal, a skewed and a curved posterior, for tests that take seconds for each.
ONE_OF_EACH_KIND = ["linear_gaussian", "mixture_prior", "poisson", "nonlinear_bernoulli"]


@pytest.fixture(params=ONE_OF_EACH_KIND)
def case(request) -> Case:
    """One reference of each kind in turn."""
    return case_of(request.param)


@pytest.fixture(params=list(REFERENCES))
def every_case(request) -> Case:
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
