"""Measures of sentences against loops over all pairs of them, and at what they are for sure."""

from collections import Counter

import numpy as np
import pytest

from bayes_jax import InputError
from bayes_jax.exact import ngram
from bayes_jax.sequences import END
from vae_jax.quality.ngram_overlap import distinct_share, novel_share, self_bleu, words_of
from vae_jax.quality.sentences import assess_sentences, ngram_perplexity

NUM_TOKENS, LENGTH = 6, 9


def rows(seed, num):
    """Sentences of 0 to 9 words, the longest of them cut: they have no end."""
    rng = np.random.default_rng(seed)
    x = rng.choice(np.arange(1, NUM_TOKENS), (num, LENGTH), p=[0.4, 0.3, 0.1, 0.1, 0.1])
    return np.where(np.arange(LENGTH) < rng.integers(0, LENGTH + 1, (num, 1)), x, END)


X = rows(0, 30)


def grams(words, n):
    return Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))


def bleu(words, references):
    """As its paper defines it, a hit of 0.1 for none; orders that the sentence is too short for
    are left out."""
    if not words:
        return 0.0
    logs = []
    for n in range(1, min(4, len(words)) + 1):
        mine, others = grams(words, n), [grams(reference, n) for reference in references]
        hits = sum(min(k, max(other[gram] for other in others)) for gram, k in mine.items())
        logs.append(np.log(max(hits, 0.1) / mine.total()))
    nearest = min((abs(len(other) - len(words)), len(other)) for other in references)[1]
    return np.exp(np.mean(logs) + min(0, 1 - nearest / len(words)))


def test_words_end_where_the_sentence_does():
    assert words_of(np.array([[3, 2, END, END], [1, 2, 3, 4], [END] * 4])) == [
        (3, 2),
        (1, 2, 3, 4),
        (),
    ]


@pytest.mark.parametrize("order", [1, 2, 3])
def test_distinct_share_is_that_of_a_loop(order):
    found = [gram for row in X for gram in grams([t for t in row if t], order).elements()]
    assert distinct_share(X, order) == len({*found}) / len(found)
    assert np.isnan(distinct_share(X[:, :1], 2))


@pytest.mark.parametrize("num", [3, 30])
def test_self_bleu_is_that_of_a_loop(num):
    """Of three, each is as long as no other."""
    words = [[int(token) for token in row if token] for row in X[:num]]
    expected = [bleu(one, words[:i] + words[i + 1 :]) for i, one in enumerate(words)]
    assert self_bleu(X[:num]) == pytest.approx(np.mean(expected), rel=1e-12)


def test_self_bleu_of_equals_is_one_and_of_strangers_small():
    assert self_bleu(np.array([[1, 2, 3, 4, END]] * 3)) == pytest.approx(1)
    assert self_bleu(np.array([[1, 2, END], [3, 4, END]])) < 0.1
    with pytest.raises(InputError, match="x holds 1 sentences"):
        self_bleu(X[:1])


def test_novel_share_does_not_count_what_training_has():
    x = np.array([[1, 2, END], [2, 1, END], [1, END, END], [1, 2, 3]])
    train = np.array([[1, 2, END, END], [1, 2, 3, END]])
    assert novel_share(x, train) == 0.5


def test_ngram_perplexity_is_the_product_of_its_steps():
    held_out = rows(1, 200)
    fitted = ngram.fit_params(held_out, num_tokens=NUM_TOKENS, order=3)
    costs = []
    for words in ([int(token) for token in row] for row in X):
        steps = words[: words.index(END) + 1] if END in words else words
        costs += [ngram.next_probs(fitted, steps[:i])[token] for i, token in enumerate(steps)]
    found = ngram_perplexity(X, held_out, num_tokens=NUM_TOKENS)
    assert found.value == pytest.approx(np.exp(-np.mean(np.log(costs))), rel=1e-9)


def test_all_of_them_have_their_names():
    train, held_out = np.concatenate([X[:10], rows(2, 50)]), rows(1, 200)
    found = assess_sentences(X, train=train, held_out=held_out, num_tokens=NUM_TOKENS)
    assert (found.distinct_1, found.distinct_2) == (distinct_share(X, 1), distinct_share(X, 2))
    assert (found.self_bleu, found.novel) == (self_bleu(X), novel_share(X, train))
    expected = ngram_perplexity(X, held_out, num_tokens=NUM_TOKENS).value
    assert found.ngram_perplexity == expected
