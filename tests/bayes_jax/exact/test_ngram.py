"""Kneser-Ney by hand, against its definition in dictionaries, and as a distribution."""

import itertools
import math
from collections import Counter

import jax
import numpy as np
import pytest

from bayes_jax import InputError
from bayes_jax.estimates import EvidenceKind
from bayes_jax.exact import ngram
from bayes_jax.sequences import END, lengths, perplexity, stays_ended

KEY = jax.random.key(0)
TINY = np.array([[1, 2, END], [1, 3, END]])


def corpus(num=60, num_tokens=5, length=9):
    """Sentences of a random chain, some of them cut."""
    rng = np.random.default_rng(4)
    transition = rng.dirichlet(np.full(num_tokens, 0.4), num_tokens)
    rows = np.zeros((num, length), int)
    for row in rows:
        row[0] = rng.integers(1, num_tokens)
        for place in range(1, length):
            if row[place - 1] != END:
                row[place] = rng.choice(num_tokens, p=transition[row[place - 1]])
    return rows


def by_definition(sentences, num_tokens, order):
    """A function p(token, context) from counts of tuples; "<" begins a sentence."""
    grams = Counter(
        tuple(text[start : start + length])
        for text in (["<", *sentence] for sentence in sentences)
        for length in range(1, order + 1)
        for start in range(len(text) - length + 1)
    )

    def count(gram):
        if len(gram) == order or (gram[0] == "<" and len(gram) > 1):
            return grams[gram]
        return sum(other[1:] == gram for other in grams)

    def discounts(length):
        counts = Counter(count(g) for g in grams if len(g) == length and g != ("<",))
        if not all(counts[i] for i in (1, 2, 3, 4)):
            return {1: 0.5, 2: 1.0, 3: 1.5}
        ratio = counts[1] / (counts[1] + 2 * counts[2])
        found = {i: i - (i + 1) * ratio * counts[i + 1] / counts[i] for i in (1, 2, 3)}
        usable = all(0 < found[i] < i for i in found)
        return found if usable else {1: 0.5, 2: 1.0, 3: 1.5}

    of_length = {length: discounts(length) for length in range(1, order + 1)}

    def prob(token, context):
        counts = {t: count((*context, t)) for t in range(num_tokens)}
        counts = {t: c for t, c in counts.items() if c}
        shorter = prob(token, context[1:]) if context else 1 / num_tokens
        if not counts:
            return shorter
        taken = {t: of_length[len(context) + 1][min(c, 3)] for t, c in counts.items()}
        kept = counts[token] - taken[token] if token in counts else 0.0
        return (kept + sum(taken.values()) * shorter) / sum(counts.values())

    return prob


def test_two_sentences_by_hand():
    """a b, a c. After other symbols stand a, b, c once and the end twice; the discounts are 1/2, 1.

    p(a) = p(b) = p(c) = (1/2 + 5/2 / 4) / 5 = 0.225 and p(end) = (1 + 5/2 / 4) / 5 = 0.325, so
    p(a | begin) = (1 + 0.225) / 2, p(b | a) = (1/2 + 0.225) / 2 and p(end | b) = 1/2 + 0.325 / 2.
    """
    params = ngram.fit_params(TINY, num_tokens=4, order=2)
    expected = [0.6125, 0.3625, 0.6625]
    np.testing.assert_allclose(np.exp(ngram.log_prob_tokens(params, TINY[:1])), [expected])
    assert ngram.log_prob(params, TINY[:1])[0] == pytest.approx(math.log(math.prod(expected)))
    # Never seen together: all of it from the shorter context.
    np.testing.assert_allclose(ngram.next_probs(params, [1]), [0.1625, 0.1125, 0.3625, 0.3625])


@pytest.mark.parametrize("order", range(1, 6))
@pytest.mark.parametrize("num", [60, 400])
def test_every_token_has_the_probability_of_the_definition(order, num):
    x = corpus(num)
    sentences = [row[:length].tolist() for row, length in zip(x, lengths(x), strict=True)]
    prob = by_definition(sentences, 5, order)
    params = ngram.fit_params(x, num_tokens=5, order=order)
    new = np.random.default_rng(9).integers(0, 5, (5, 6))
    found = ngram.log_prob_tokens(params, new)
    for row, length, log_probs in zip(new.tolist(), lengths(new), found, strict=True):
        for place in range(length):
            context = ["<", *row[:place]]
            expected = prob(row[place], tuple(context[max(0, len(context) - order + 1) :]))
            assert log_probs[place] == pytest.approx(math.log(expected))
        np.testing.assert_array_equal(log_probs[length:], 0)


@pytest.mark.parametrize("order", range(1, 6))
def test_probabilities_sum_to_one_after_any_history(order):
    """Whether it was seen or not; and each is what `log_prob_tokens` says."""
    params = ngram.fit_params(corpus()[:, :4], num_tokens=5, order=order)
    for history in itertools.chain.from_iterable(
        itertools.product(range(1, 5), repeat=length) for length in range(4)
    ):
        probs = ngram.next_probs(params, history)
        assert probs.sum() == pytest.approx(1, abs=1e-12)
        assert probs.min() > 0
        rows = np.array([[*history, token] for token in range(5)])
        np.testing.assert_allclose(ngram.log_prob_tokens(params, rows)[:, -1], np.log(probs))


def test_probabilities_of_all_rows_sum_to_one():
    params = ngram.fit_params(corpus(), num_tokens=5)
    x = np.array(list(itertools.product(range(5), repeat=5)))
    x = x[stays_ended(x)]
    assert np.exp(ngram.log_prob(params, x)).sum() == pytest.approx(1, abs=1e-9)


def test_draws_are_as_frequent_as_they_are_probable():
    model = ngram.generative(ngram.fit_params(corpus(), num_tokens=5, order=3), length=3)
    x = model.sample(KEY, 3000)
    rows, counts = np.unique(x, axis=0, return_counts=True)
    evidence = model.log_evidence(KEY, rows)
    assert evidence.kind == EvidenceKind.EXACT
    probs = np.exp(np.asarray(evidence.lower, np.float64))
    stderr = np.sqrt(probs * (1 - probs) / len(x))
    assert np.all(np.abs(counts / len(x) - probs) < 4.5 * stderr + 1 / len(x))
    assert np.all(stays_ended(x))


def test_longer_contexts_help_where_there_is_something_to_learn():
    """A sentence that repeats its first token is known from the second on."""
    rng = np.random.default_rng(0)
    x = np.repeat(rng.integers(1, 20, (500, 1)), 6, axis=1)
    x[:, 1::2] = rng.integers(1, 3, (500, 3))
    values = [
        perplexity(
            ngram.log_prob(ngram.fit_params(x[:400], num_tokens=20, order=order), x[400:]),
            lengths(x[400:]),
        ).value
        for order in (1, 2, 3)
    ]
    assert values[2] < 0.7 * values[1] < 0.7 * values[0]


@pytest.mark.parametrize(
    ("x", "options", "message"),
    [
        (np.zeros((0, 3), int), {}, r"x has shape \(0, 3\): expected rows of tokens"),
        (np.array([[1, 0], [2, 7]]), {}, r"x\[1\] holds 7: expected tokens 0 ... 3"),
        (np.array([[0.5, 0.0]]), {}, r"x\[0\] holds 0.5"),
        (TINY, {"order": 6}, "order is 6: expected 1 to 5"),
    ],
)
def test_what_cannot_be_counted_is_one_line(x, options, message):
    with pytest.raises(InputError, match=message) as error:
        ngram.fit_params(x, **{"num_tokens": 4, **options})
    assert "\n" not in str(error.value)


def test_a_token_never_heard_of_is_one_line():
    params = ngram.fit_params(TINY, num_tokens=4)
    with pytest.raises(InputError, match=r"x\[0\] holds 4: expected tokens 0 ... 3"):
        ngram.log_prob(params, np.array([[1, 4, 0]]))
