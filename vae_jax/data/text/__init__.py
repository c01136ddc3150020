"""Text: sentences from `sources`, cut by a `vocabulary`, as rows of tokens in a `dataset`."""

from vae_jax.data.text.dataset import TextDataset, load_text
from vae_jax.data.text.vocabulary import Vocabulary, fit_vocabulary

__all__ = ["TextDataset", "Vocabulary", "fit_vocabulary", "load_text"]
