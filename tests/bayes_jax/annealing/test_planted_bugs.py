"""Bugs that void the bound, planted one by one: the check that is to see each does."""

import jax
import jax.numpy as jnp
import pytest

from bayes_jax.annealing import engines, pilot
from bayes_jax.annealing.moves import TRANSITIONS
from bayes_jax.annealing.path import GaussianStart

LOG_WEIGHT = engines.log_weight


@pytest.fixture
def plant(monkeypatch):
    """Put a bug in code that has been compiled without it, until the test is over."""

    def planted(owner, name, bug):
        monkeypatch.setattr(owner, name, bug)
        jax.clear_caches()

    yield planted
    jax.clear_caches()


def _wrong_sign_of_the_last_increment(chains):
    return 2 * chains.log_weight - LOG_WEIGHT(chains)


def _without_normaliser(start, z):
    return -0.5 * jnp.sum((start.inverse @ (z - start.loc)) ** 2)


def _adapting(move):
    """Steps that follow the acceptance of the weighted chains themselves."""

    def adapted(key, target, path, points, beta, step_size, num_leapfrogs):
        options = (target, path, points, beta)
        tried = move(key, *options, step_size, num_leapfrogs)
        error = jnp.mean(tried.accept_prob) - pilot.TARGET_ACCEPT
        return move(key, *options, step_size * jnp.exp(error), num_leapfrogs)

    return adapted


@pytest.mark.slow
@pytest.mark.parametrize(
    ("owner", "name", "bug"),
    [
        (engines, "log_weight", _wrong_sign_of_the_last_increment),
        (GaussianStart, "log_prob", _without_normaliser),
    ],
)
def test_weights_that_are_biased_are_seen(plant, check_mean_weight, linear_case, owner, name, bug):
    options = {"from_guide": True, "transition": "elliptical"}
    check_mean_weight(linear_case, **options)
    plant(owner, name, bug)
    with pytest.raises(AssertionError, match=r"assert .* < \(4 \* "):
        check_mean_weight(linear_case, **options)


@pytest.mark.slow
def test_adaptation_inside_the_anneal_is_seen(monkeypatch, check_walk_is_blind, linear_case):
    hmc = TRANSITIONS["hmc"]
    monkeypatch.setitem(TRANSITIONS, "hmc", hmc._replace(move=_adapting(hmc.move)))
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        check_walk_is_blind(linear_case)
