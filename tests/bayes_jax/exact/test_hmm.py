"""Hidden Markov models against enumeration of all state sequences."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bayes_jax import InputError
from bayes_jax.exact import hmm

KEY = jax.random.key(0)


def some(kind, num_states=3, size=4):
    keys = jax.random.split(jax.random.key(3), 3)
    initial = jax.random.dirichlet(keys[0], jnp.ones(num_states))
    transition = jax.random.dirichlet(keys[1], 0.5 * jnp.ones((num_states, num_states)))
    if kind is hmm.BernoulliHMM:
        emission = 1.5 * jax.random.normal(keys[2], (num_states, size))
    else:
        emission = jnp.log(jax.random.dirichlet(keys[2], 0.5 * jnp.ones((num_states, size))))
    return kind(jnp.log(initial), jnp.log(transition), emission)


KINDS = [hmm.BernoulliHMM, hmm.CategoricalHMM]


def frames_of(params, num_steps=5):
    return hmm.HiddenMarkov(params, num_steps).sample(KEY)


def enumerated(params, frames):
    """log of p(s, x) of every sequence of states, `[path]`, and the paths."""
    table = np.asarray(params.emissions().log_prob(jnp.asarray(frames)[:, None]), np.float64)
    initial, transition = (np.asarray(part, np.float64) for part in params[:2])
    paths = np.array(list(itertools.product(range(len(initial)), repeat=len(frames))))
    log_joint = initial[paths[:, 0]] + transition[paths[:, :-1], paths[:, 1:]].sum(axis=1)
    return log_joint + table[np.arange(len(frames)), paths].sum(axis=1), paths


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("length", [None, 1, 3])
def test_evidence_and_posterior_are_those_of_enumeration(kind, length):
    params = some(kind)
    frames = frames_of(params)
    log_joint, paths = enumerated(params, frames[: length or len(frames)])
    expected = np.logaddexp.reduce(log_joint)
    found = hmm.log_evidence(params, frames, length)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    weights = np.exp(log_joint - expected)
    states = hmm.posterior_states(params, frames, length)
    for step in range(paths.shape[1]):
        shares = np.bincount(paths[:, step], weights, minlength=3)
        np.testing.assert_allclose(states[step], shares, atol=1e-5)
    np.testing.assert_array_equal(states[paths.shape[1] :], 0)


@pytest.mark.parametrize("kind", KINDS)
def test_probabilities_of_all_sequences_sum_to_one(kind):
    params = some(kind, size=2)
    frames = itertools.product(range(2), repeat=6)
    shape = (3, 2) if kind is hmm.BernoulliHMM else (6,)
    x = jnp.array(list(frames)).reshape(-1, *shape)
    density = hmm.HiddenMarkov(params, shape[0])
    assert float(jnp.sum(jnp.exp(density.log_prob(x)))) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_log_p_of_long_draws_nears_the_entropy_rate(kind):
    """By the Shannon-McMillan-Breiman theorem: a long draw's -log p per step is the rate, and what
    the conditional entropy of short sequences brackets from above."""
    params = some(kind, size=2)
    num = 2000
    draws = hmm.HiddenMarkov(params, num).sample(KEY, (8,))
    rates = -np.asarray(jax.vmap(lambda x: hmm.log_evidence(params, x))(draws)) / num
    conditional = np.diff([entropy(params, steps) for steps in (5, 6)])[0]
    stderr = rates.std(ddof=1) / np.sqrt(len(rates))
    assert abs(rates.mean() - conditional) < 4 * stderr + 0.005


def entropy(params, num_steps):
    """Of sequences in the stationary state, by enumeration."""
    transition = np.exp(np.asarray(params[1], np.float64))
    stationary = np.linalg.matrix_power(transition, 500)[0]
    params = params._replace(log_initial=jnp.log(jnp.asarray(stationary, jnp.float32)))
    bits = num_steps * (2 if isinstance(params, hmm.BernoulliHMM) else 1)
    x = np.array(list(itertools.product(range(2), repeat=bits)))
    x = jnp.asarray(x.reshape(len(x), num_steps, -1) if bits > num_steps else x)
    log_prob = np.asarray(jax.vmap(lambda x: hmm.log_evidence(params, x))(x), np.float64)
    return -np.exp(log_prob) @ log_prob


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_em_never_falls_and_finds_what_made_the_data(kind):
    params = some(kind)
    x = hmm.HiddenMarkov(params, 20).sample(KEY, (400,))
    held_out = hmm.HiddenMarkov(params, 20).sample(jax.random.key(9), (200,))
    num_tokens = None if kind is hmm.BernoulliHMM else 4
    values, fitted = [], []
    for num_iterations in (1, 2, 5, 20, 200):
        fitted = hmm.fit_params(
            KEY,
            x,
            num_states=3,
            num_tokens=num_tokens,
            num_restarts=1,
            num_iterations=num_iterations,
            tolerance=1e-6,
        )
        log_prob = jax.vmap(lambda x, fitted=fitted: hmm.log_evidence(fitted, x))(x)
        values.append(float(jnp.sum(log_prob) + 0.5 * hmm._log_prior(fitted)))
    assert np.all(np.diff(values) > -1e-2)
    best = hmm.fit_params(KEY, x, num_states=3, num_tokens=num_tokens, num_restarts=8)
    gap = hmm.HiddenMarkov(params, 20).log_prob(held_out) - hmm.HiddenMarkov(best, 20).log_prob(
        held_out
    )
    assert abs(float(gap.mean())) < 0.2


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("padding", [0, 1])
def test_what_lies_beyond_a_length_teaches_nothing(kind, padding):
    x = hmm.HiddenMarkov(some(kind), 10).sample(KEY, (50,))
    num_tokens = None if kind is hmm.BernoulliHMM else 4
    options = {"num_states": 3, "num_tokens": num_tokens, "num_iterations": 5}
    cut = hmm.fit_params(KEY, x[:, :6], **options)
    lengths = np.full(50, 6)
    whole = hmm.fit_params(KEY, x.at[:, 6:].set(padding), lengths=lengths, **options)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4), cut, whole)


@pytest.mark.parametrize(
    ("x", "options", "message"),
    [
        (np.zeros((3, 4)), {}, "num_tokens is None"),
        (np.full((3, 4), 5), {"num_tokens": 4}, "x holds 5 to 5"),
        (np.full((3, 4, 2), 0.5), {}, "other values than 0 and 1"),
        (np.zeros((3, 4, 2, 1)), {}, r"x has shape \(3, 4, 2, 1\)"),
        (np.zeros((3, 4, 2)), {"num_states": 0}, "num_states is 0"),
        (np.zeros((3, 4, 2)), {"pseudo_count": 0.0}, "pseudo_count is 0"),
        (np.zeros((3, 4, 2)), {"lengths": np.array([4, 5, 1])}, "expected 3 of 1 to 4"),
    ],
)
def test_what_cannot_be_fitted_is_one_line(x, options, message):
    with pytest.raises(InputError, match=message) as error:
        hmm.fit_params(KEY, x, **{"num_states": 2, **options})
    assert "\n" not in str(error.value)
