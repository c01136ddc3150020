"""Weighted and held KLs against the numbers they stand for."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from jax.tree_util import Partial

from bayes_jax import InputError
from bayes_jax.model import LatentModel
from vae_jax import objectives

X = jnp.array([0.4, -0.9])
PRIOR = dist.Normal(jnp.zeros(2), 1.0).to_event(1)
MODEL = LatentModel(PRIOR, Partial(lambda z: dist.Normal(z, 0.7).to_event(1)))
LOC, SCALE = np.array([1.5, 0.1]), 0.9
KL = 0.5 * (SCALE**2 + LOC**2 - 1) - np.log(SCALE)  # of each unit: 1.14 and 0.015


def guide(loc, x):
    del x
    return dist.Normal(loc, SCALE).to_event(1)


def terms_of(function, loc=LOC, **options):
    return function(
        jax.random.key(0), MODEL, Partial(guide, jnp.asarray(loc, jnp.float32)), X, **options
    )


CASES = [
    (objectives.beta_terms, {"beta": 4.0}, 4 * KL.sum()),
    (objectives.beta_terms, {"beta": 0.0}, 0.0),
    (objectives.free_bits_terms, {"free_nats": 0.25}, KL[0] + 0.25),
    (objectives.free_bits_terms, {"free_nats": 3.0}, 6.0),
    (objectives.capacity_terms, {"capacity": 5.0, "weight": 10.0}, 10 * (5.0 - KL.sum())),
    (objectives.capacity_terms, {"capacity": 0.5, "weight": 10.0}, 10 * (KL.sum() - 0.5)),
]


@pytest.mark.parametrize(("function", "options", "penalty"), CASES)
def test_the_penalty_is_the_stated_one_and_the_elbo_is_whole(function, options, penalty):
    terms = terms_of(function, **options)
    plain = terms_of(objectives.elbo_terms)
    np.testing.assert_allclose(
        terms.reconstruction - terms.objective, penalty, rtol=1e-4, atol=1e-5
    )
    assert terms[1:] == plain[1:]
    np.testing.assert_allclose(terms.kl, KL.sum(), rtol=1e-5)


def test_the_elbo_is_beta_one():
    assert terms_of(objectives.beta_terms, beta=1.0) == terms_of(objectives.elbo_terms)


def test_a_unit_below_its_free_nats_feels_no_prior():
    def penalty(loc):
        terms = terms_of(objectives.free_bits_terms, loc, free_nats=0.25)
        return terms.reconstruction - terms.objective

    pull = jax.grad(penalty)(jnp.asarray(LOC, jnp.float32))
    np.testing.assert_allclose(pull, [LOC[0], 0.0], atol=1e-5)


def test_free_bits_refuse_what_has_no_units():
    full_rank = Partial(lambda x: dist.MultivariateNormal(x, jnp.eye(2)))
    with pytest.raises(InputError, match="independent over units"):
        objectives.free_bits_terms(jax.random.key(0), MODEL, full_rank, X, free_nats=0.1)


def test_warm_up_rises_to_one_and_stays():
    rising = [float(objectives.warmed_up(jnp.float32(step), 4)) for step in range(6)]
    assert rising == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    assert float(objectives.warmed_up(jnp.float32(0), 0)) == 1.0
