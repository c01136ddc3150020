"""All measures of one set of sentences that a model wrote."""

from typing import NamedTuple

from bayes_jax.exact import ngram
from bayes_jax.sequences import Perplexity, lengths, perplexity
from vae_jax.quality.ngram_overlap import Rows, distinct_share, novel_share, self_bleu


class SentenceQuality(NamedTuple):
    """How sentences of a model read, without a reader.

    Attributes:
        distinct_1: different words over all words; falls with the number of sentences.
        distinct_2: the same of pairs.
        self_bleu: how much of a sentence others have too, see `self_bleu`.
        novel: the share of sentences that are none of the training sentences.
        ngram_perplexity: per token, under an n-gram of sentences that no model has seen.
    """

    distinct_1: float
    distinct_2: float
    self_bleu: float
    novel: float
    ngram_perplexity: float


def assess_sentences(x: Rows, *, train: Rows, held_out: Rows, num_tokens: int) -> SentenceQuality:
    """All of them; to be read beside those of as many test sentences.

    Args:
        x: sentences, rows of tokens as `bayes_jax.sequences` has them.
        train: sentences that the model has seen.
        held_out: sentences that it has not; other ones than those that x is held against.
        num_tokens: of the vocabulary.

    Raises:
        InputError: fewer than two sentences, or numbers that are no tokens.
    """
    return SentenceQuality(
        distinct_1=distinct_share(x, 1),
        distinct_2=distinct_share(x, 2),
        self_bleu=self_bleu(x),
        novel=novel_share(x, train),
        ngram_perplexity=ngram_perplexity(x, held_out, num_tokens=num_tokens).value,
    )


def ngram_perplexity(x: Rows, held_out: Rows, *, num_tokens: int, order: int = 3) -> Perplexity:
    """How likely sentences are to an n-gram that never saw what the model learned from.

    Low for sentences of the language, and lower still for those that keep to its most common
    words: read it beside the diversity (as "reverse" and "forward" perplexity in Zhao et al. 2018,
    arXiv 1706.04223).

    Args:
        x: sentences, rows of tokens.
        held_out: what the n-gram is fitted on.
        num_tokens: of the vocabulary.
        order: of the n-gram.
    """
    fitted = ngram.fit_params(held_out, num_tokens=num_tokens, order=order)
    return perplexity(ngram.log_prob(fitted, x), lengths(x))
