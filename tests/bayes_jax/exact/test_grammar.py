"""Grammars against enumeration of every derivation."""

import itertools
from collections import defaultdict

import jax
import numpy as np
import pytest

from bayes_jax import InputError
from bayes_jax.estimates import EvidenceKind
from bayes_jax.exact import grammar as grammars

KEY = jax.random.key(0)
AMBIGUOUS = {
    "S": {"S S": 2, "A B": 2, "a": 3, "b": 2},
    "A": {"B S": 1, "a": 3},
    "B": {"A A": 1, "b": 2, "a": 1},
}
FINITE = {
    "S": {"A B": 2, "B A": 1, "a": 1},
    "A": {"C C": 2, "a": 1},
    "B": {"A C": 1, "C A": 1, "c": 2},
    "C": {"a": 2, "b": 1},
}


def made(rules):
    return grammars.from_rules(rules)[0]


def enumerated(grammar, longest):
    """Length -> {tokens: [p of each derivation]} of every sentence up to a length."""
    tables = defaultdict(lambda: defaultdict(list))  # (symbol, width) -> tokens -> probabilities
    for symbol, token in zip(*np.nonzero(grammar.unary), strict=True):
        tables[symbol, 1][(token,)].append(grammar.unary[symbol, token])
    for width, left in ((w, k) for w in range(2, longest + 1) for k in range(1, w)):
        for a, b, c in zip(*np.nonzero(grammar.binary), strict=True):
            pairs = itertools.product(tables[b, left].items(), tables[c, width - left].items())
            for (first, some), (second, others) in pairs:
                tables[a, width][first + second] += [
                    grammar.binary[a, b, c] * p * q for p, q in itertools.product(some, others)
                ]
    return {width: tables[0, width] for width in range(1, longest + 1)}


def rows_of(strings, length):
    rows = np.zeros((len(strings), length), np.int32)
    for row, string in zip(rows, strings, strict=True):
        row[: len(string)] = string
    return rows


@pytest.mark.parametrize("rules", [AMBIGUOUS, FINITE])
def test_p_of_every_string_is_the_sum_over_its_derivations(rules):
    grammar = made(rules)
    num_tokens = grammar.unary.shape[1]
    strings = [
        string
        for width in range(1, 6)
        for string in itertools.product(range(1, num_tokens), repeat=width)
    ]
    expected = {
        string: sum(probs)
        for table in enumerated(grammar, 5).values()
        for string, probs in table.items()
    }
    evidence = grammars.log_evidence(grammar, rows_of(strings, 7), batch_size=50)
    assert evidence.kind == EvidenceKind.EXACT
    found = np.asarray(evidence.lower)
    probs = np.array([expected.get(string, 0.0) for string in strings])
    assert np.any(probs == 0) or rules is AMBIGUOUS
    with np.errstate(divide="ignore"):
        np.testing.assert_allclose(found, np.log(probs), rtol=2e-6, atol=2e-6)


def test_probabilities_of_all_strings_and_longer_ones_sum_to_one():
    """By length, the inside sums are those of the recursion over lengths; the rest is the share of
    draws that are longer."""
    grammar = made(AMBIGUOUS)
    by_length = grammars.length_probs(grammar, 8)
    for width in range(1, 9):
        strings = list(itertools.product((1, 2), repeat=width))
        found = grammars.log_evidence(grammar, rows_of(strings, 9)).lower
        total = np.exp(np.asarray(found, np.float64)).sum()
        assert total == pytest.approx(by_length[width], rel=1e-5)
    x, _ = grammars.sample(KEY, grammar, 4000)
    tail, share = 1 - by_length.sum(), np.mean(np.sum(x != 0, axis=1) > 8)
    assert 0.01 < tail < 0.2
    assert abs(share - tail) < 4 * np.sqrt(tail / len(x))


def test_moments_are_those_of_the_lengths():
    grammar = made(AMBIGUOUS)
    probs = grammars.length_probs(grammar, 800)
    assert probs.sum() == pytest.approx(1, abs=1e-9)
    assert grammars.mean_length(grammar) == pytest.approx(probs @ np.arange(801), rel=1e-9)


def test_entropies_are_those_of_enumeration():
    grammar = made(FINITE)
    tables = enumerated(grammar, 5)
    derivations = np.array([p for table in tables.values() for ps in table.values() for p in ps])
    strings = np.array([sum(ps) for table in tables.values() for ps in table.values()])
    assert strings.sum() == pytest.approx(1)
    of_derivations, of_strings = (-p @ np.log(p) for p in (derivations, strings))
    assert of_derivations - of_strings > 0.1
    assert grammars.derivation_entropy(grammar) == pytest.approx(of_derivations)
    found = grammars.string_entropy(KEY, grammar, num=1000)
    assert abs(found.value - of_strings) < 4 * found.stderr
    assert found.value == pytest.approx(of_derivations - found.ambiguity)
    x, _ = grammars.sample(KEY, grammar, 1000)
    plain = -np.asarray(grammars.log_evidence(grammar, x).lower)
    assert found.stderr < 0.8 * plain.std() / np.sqrt(len(plain))


def test_draws_are_as_frequent_as_they_are_probable():
    grammar = made(FINITE)
    x, log_derivation = grammars.sample(KEY, grammar, 5000)
    rows, index, counts = np.unique(x, axis=0, return_inverse=True, return_counts=True)
    log_prob = np.asarray(grammars.log_evidence(grammar, rows).lower, np.float64)
    probs = np.exp(log_prob)
    assert np.all(np.abs(counts / len(x) - probs) < 4.5 * np.sqrt(probs / len(x)) + 1e-9)
    # No derivation is more probable than the sentence that it ends in.
    assert np.all(log_derivation <= log_prob[index.ravel()] + 1e-5)
    mean, stderr = -log_derivation.mean(), log_derivation.std() / np.sqrt(len(x))
    assert abs(mean - grammars.derivation_entropy(grammar)) < 4 * stderr


def test_long_sentences_do_not_underflow():
    """a, n times, by S -> S S | a alone: Catalan number of derivations, each p^(n-1) q^n."""
    grammar = made({"S": {"S S": 1, "a": 99}})
    num = 60
    row = rows_of([(1,) * num], num + 1)[0]
    log_catalan = sum(np.log((num - 1 + k) / k) for k in range(2, num))
    expected = log_catalan + (num - 1) * np.log(0.01) + num * np.log(0.99)
    assert float(grammars.log_prob(grammar, row)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"S": {"S S": 3, "a": 1}}, r"grow by 1.5 a step: expected less than 1"),
        ({"S": {"S T": 1, "a": 1}}, r"rule S -> 'S T': expected one word, or two of the symbols S"),
        ({"S": {"": 1}}, "rule S -> ''"),
        ({"S": {"a": 0.0, "b": 1}}, "rule S -> 'a' has weight 0.0"),
    ],
)
def test_what_is_no_grammar_is_one_line(rules, message):
    with pytest.raises(InputError, match=message) as error:
        grammars.from_rules(rules)
    assert "\n" not in str(error.value)


def test_what_is_no_sentence_is_one_line():
    grammar = made(AMBIGUOUS)
    with pytest.raises(InputError, match=r"x\[1\] has no end token"):
        grammars.log_evidence(grammar, np.array([[1, 0], [1, 1]]))
    with pytest.raises(InputError, match=r"x holds 0 to 9: expected tokens 0 ... 2"):
        grammars.log_evidence(grammar, np.array([[9, 0]]))
    with pytest.raises(InputError, match="num is 1"):
        grammars.string_entropy(KEY, grammar, num=1)
    assert grammars.log_prob(grammar, np.array([0, 0])) == -np.inf
