"""Sentences of a small English whose probabilities are known: a grammar of 16 symbols, 97 words.

Phrases hold phrases of their own kind (she said that he saw the dog in the park ...), and most long
sentences have several derivations: a prepositional phrase may belong to a noun or to a verb, and
some words are nouns and verbs. A model trained on these sentences can be held against the truth:
its perplexity against the entropy, its own sentences against the grammar.
"""

import functools
from collections.abc import Sequence

import jax
import numpy as np
from jaxtyping import Float64

from bayes_jax.exact.grammar import Grammar, from_rules, log_evidence, sample
from vae_jax.data.text.vocabulary import END_SYMBOL, Vocabulary

NUM_SENTENCES = 10_000
_SEED = 0


def _ranked(weight: int, words: str) -> dict[str, float]:
    """A weight shared among words as 1 / (1 + rank)."""
    shares = {word: 1 / (2 + rank) for rank, word in enumerate(words.split())}
    return {word: weight * share / sum(shares.values()) for word, share in shares.items()}


_PEOPLE = "she he they anna we peter everyone nobody maria somebody"
_DETERMINERS = "the a this every some no her his"
_NOUNS = (
    "dog house child river teacher garden book window friend letter boat watch stone horse street "
    "song light doctor market bridge play cook tree king saw city picture train winter answer"
)
_ADJECTIVES = "old small green quiet young cold bright lost wooden tired strange happy late"
_TAKERS = "saw found likes follows watch cook paints carries play remembers sold needs light"
_SAYERS = "said thinks knows believes heard"
_DOERS = "sleeps sings waits left watch cook laughs play works fell"
_PREPOSITIONS = "in with on near from under behind"
_ADVERBS = "slowly again today often alone outside"

RULES = {
    "S": {"NP VP": 90, "S AndS": 10},
    "AndS": {"And S": 1},
    "NP": {"Det N": 52, "NP PP": 14, "NP AndNP": 6, **_ranked(28, _PEOPLE)},
    "AndNP": {"And NP": 1},
    "N": {"Adj N": 25, **_ranked(75, _NOUNS)},
    "VP": {"Vt NP": 46, "VP PP": 14, "Vs That": 9, "VP Adv": 5, **_ranked(26, _DOERS)},
    "That": {"Comp S": 1},
    "PP": {"P NP": 1},
    "Det": _ranked(1, _DETERMINERS),
    "Adj": _ranked(1, _ADJECTIVES),
    "Vt": _ranked(1, _TAKERS),
    "Vs": _ranked(1, _SAYERS),
    "P": _ranked(1, _PREPOSITIONS),
    "Adv": _ranked(1, _ADVERBS),
    "And": {"and": 4, "or": 1},
    "Comp": {"that": 1},
}
"""symbol -> right side -> weight."""


@functools.cache
def grammar() -> tuple[Grammar, Vocabulary]:
    """The grammar, and the vocabulary of its own tokens."""
    rules, words = from_rules(RULES)
    return rules, Vocabulary("word", (END_SYMBOL, *words))


@functools.cache
def grammar_sentences() -> tuple[str, ...]:
    """10,000 draws, always the same; short ones come up more than once."""
    rules, vocabulary = grammar()
    rows, _ = sample(jax.random.key(_SEED), rules, NUM_SENTENCES)
    return tuple(vocabulary.sentences(rows))


def log_prob(sentences: Sequence[str]) -> Float64[np.ndarray, " num"]:
    """The true log p of sentences in nats; -inf of those that the grammar does not have.

    Args:
        sentences: of any words.
    """
    rules, vocabulary = grammar()
    known = {*vocabulary.symbols[1:]}
    is_known = np.array([{*sentence.split()} <= known for sentence in sentences], bool)
    found = np.full(len(sentences), -np.inf)
    if np.any(is_known):
        rows = vocabulary.rows([s for s, known in zip(sentences, is_known, strict=True) if known])
        found[is_known] = log_evidence(rules, rows).lower
    return found


def parsed_share(sentences: Sequence[str]) -> float:
    """The share of sentences that the grammar has, 1 of its own."""
    return float(np.mean(np.isfinite(log_prob(sentences))))
