"""Kneser-Ney on a corpus of reviews, against what others measured."""

import pytest

from bayes_jax.exact import ngram
from bayes_jax.sequences import lengths, perplexity
from vae_jax.configs.text import TextConfig
from vae_jax.data.text import load_text


def test_reviews_cost_what_others_measured(data_dir):
    """A trigram of another program has perplexity 152 on another split, of about 9,100 words."""
    reviews = load_text(TextConfig("sentence_polarity", data_dir=str(data_dir)))
    trigram, longest = (_perplexity(reviews, order) for order in (3, 5))
    assert trigram == pytest.approx(152, abs=8)
    assert longest < trigram


def _perplexity(dataset, order):
    params = ngram.fit_params(dataset.train, num_tokens=dataset.spec.num_tokens, order=order)
    return perplexity(ngram.log_prob(params, dataset.test), lengths(dataset.test)).value
