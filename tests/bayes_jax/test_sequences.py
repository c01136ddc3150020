"""Rows of tokens by hand, and the error bar of a perplexity against drawing it anew."""

import jax.numpy as jnp
import numpy as np
import pytest

from bayes_jax import InputError, sequences

ROWS = np.array([[3, 1, 0, 0], [0, 0, 0, 0], [2, 2, 2, 2], [1, 0, 5, 0]])


@pytest.mark.parametrize("kind", [np.asarray, jnp.asarray])
def test_a_sentence_goes_up_to_its_first_end(kind):
    rows = kind(ROWS)
    expected = [[1, 1, 1, 0], [1, 0, 0, 0], [1, 1, 1, 1], [1, 1, 0, 0]]
    np.testing.assert_array_equal(sequences.in_sentence(rows), np.array(expected, bool))
    np.testing.assert_array_equal(sequences.lengths(rows), [3, 1, 4, 2])
    np.testing.assert_array_equal(sequences.stays_ended(rows), [True, True, True, False])


def test_perplexity_is_per_token_and_not_per_sentence():
    """One token of probability 1/2, three of 1/8 each: the mean cost is 10 bits over 4 tokens."""
    found = sequences.perplexity(np.log([1 / 2, 1 / 8**3]), np.array([1, 3]))
    assert found.value == pytest.approx(2 ** (10 / 4))


def test_the_standard_error_is_how_much_the_perplexity_varies():
    rng = np.random.default_rng(0)
    num = rng.integers(1, 30, (400, 300))
    cost = 3 * num + rng.normal(0, 1, num.shape) * num + rng.normal(0, 2, num.shape)
    found = [sequences.perplexity(-one, count) for one, count in zip(cost, num, strict=True)]
    values, stderrs = np.array(found).T
    # The standard deviation of 400 normal values is known to 1 / sqrt(800).
    assert stderrs.mean() == pytest.approx(values.std(), rel=4 / np.sqrt(800))


def test_one_sentence_has_no_error_bar():
    with pytest.raises(InputError, match="log_prob holds 1 sentences"):
        sequences.perplexity(np.zeros(1), np.ones(1, int))
