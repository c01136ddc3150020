"""Does a text VAE model sentences as well as a language model does? Perplexity per token, one axis.

python benchmarks/text.py --data-dir DIR --out DIR        movie reviews: about 25 min on 2 CPU cores
python benchmarks/text.py --corpus grammar --out DIR      a small English of known entropy: 5 min

DIR of the data holds text/sentence_polarity.zip (Pang, Lee 2005). All models see the same training
sentences and are scored on the same test sentences, the VAE by an importance-weighted bound of its
evidence, never by its ELBO. What they write is measured beside validation sentences. --out DIR
takes text.json or text_grammar.json, written anew after each model.
"""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import harness
import jax
import numpy as np
import text_models as models

from bayes_jax.sequences import lengths, perplexity
from vae_jax import console, provenance
from vae_jax.configs import SequenceConfig, TextConfig, TrainConfig
from vae_jax.data.text import TextDataset, load_text, synthetic
from vae_jax.quality.sentences import assess_sentences

RIVAL = "language_model"
NUM_SHOWN = 5
TRAINING = {
    "sentence_polarity": models.Settings(
        SequenceConfig(dropout_rate=0.3), TrainConfig(8, 64, 4e-3, schedule="cosine")
    ),
    "grammar": models.Settings(
        SequenceConfig(width=64, dropout_rate=0.2), TrainConfig(15, 64, 6e-3, schedule="cosine")
    ),
}
"""corpus -> how language model and VAE are trained, alike."""

NAMES = {"sentence_polarity": "text", "grammar": "text_grammar"}
"""corpus -> name of its JSON."""


@dataclass(frozen=True)
class Bench:
    """Fit models of sentences, and hold what they say and write side by side.

    Attributes:
        corpus: movie reviews, or draws of a grammar whose entropy is known.
        data_dir: folder of the data sets.
        num_sentences: test sentences that are scored, the first so many.
        num_importance: draws of the latent for each, for the VAE's evidence.
        num_written: sentences that each model writes.
        num_epochs: of the networks, where it shall not be the corpus' own.
        num_iterations: of the hidden Markov model's EM.
        seed: of all that is random.
        out: folder for the JSON.
    """

    corpus: Literal["sentence_polarity", "grammar"] = "sentence_polarity"
    data_dir: Path | None = None
    num_sentences: int = 400
    num_importance: int = 500
    num_written: int = 1000
    num_epochs: int | None = None
    num_iterations: int = 20
    seed: int = 0
    out: Path | None = None


def main(command: Bench) -> None:
    """Fit, print each model as it is done, write."""
    start = time.perf_counter()
    folder = command.data_dir and str(command.data_dir)
    dataset = load_text(TextConfig(command.corpus, data_dir=folder))
    x = dataset.test[: command.num_sentences]
    real = dataset.validation[: command.num_written]
    rows = [{"model": "held-out sentences", **written(dataset, real)}]
    log_probs = {}
    for index, (name, fit) in enumerate(entrants(command).items()):
        print(name, flush=True)
        key_fit, key_sample = jax.random.split(jax.random.key(command.seed + 1000 * index))
        fitted = fit(key_fit, dataset)
        log_probs[name] = np.asarray(fitted.log_prob(x), np.float64)
        drawn = np.asarray(fitted.sample(key_sample, command.num_written))
        told = {"kind": fitted.kind, **(fitted.details or {}), "seconds": fitted.seconds}
        scores = scored(log_probs[name], log_probs[RIVAL], lengths(x))
        rows.append({"model": name, **scores, **told, **written(dataset, drawn)})
        save(command, rows, start, summary=worded(rows[-1]))
    save(command, rows, start, summary="; ".join(map(worded, rows[1:])))


def entrants(command: Bench) -> dict[str, Callable]:
    """Name -> `(key, dataset) -> Fitted`, the rival before those that are held against it."""
    settings = TRAINING[command.corpus]
    if command.num_epochs:
        settings = settings._replace(loop=replace(settings.loop, num_epochs=command.num_epochs))
    truth = {"grammar": models.know_grammar} if command.corpus == "grammar" else {}
    return {
        RIVAL: partial(models.fit_language_model, settings=settings),
        "text_vae": partial(
            models.fit_text_vae, settings=settings, num_samples=command.num_importance
        ),
        "ngram_3": partial(models.fit_ngram, order=3),
        "ngram_5": partial(models.fit_ngram, order=5),
        "hmm": partial(models.fit_hmm, num_iterations=command.num_iterations),
        **truth,
    }


def scored(log_prob, of_rival, num_tokens) -> dict:
    """What a model thinks of the test sentences; `over_rival` is paired, sentence by sentence."""
    own, ratio = perplexity(log_prob, num_tokens), perplexity(log_prob - of_rival, num_tokens)
    return {
        "nats": -log_prob.mean(),
        "stderr_nats": log_prob.std(ddof=1) / np.sqrt(len(log_prob)),
        "perplexity": own.value,
        "stderr_perplexity": own.stderr,
        "over_rival": ratio.value - 1,
        "stderr_over_rival": ratio.stderr,
        "num_sentences": len(log_prob),
    }


def written(dataset: TextDataset, x) -> dict:
    """How sentences read, and some of them."""
    quality = assess_sentences(
        x, train=dataset.train, held_out=dataset.test, num_tokens=dataset.spec.num_tokens
    )
    sentences = dataset.vocabulary.sentences(x)
    is_grammar = dataset.name == "grammar"
    return {
        **quality._asdict(),
        "parsed": synthetic.parsed_share(sentences) if is_grammar else None,
        "sentences": sentences[:NUM_SHOWN],
    }


def worded(row: dict) -> str:
    """The answer about one model, in one line."""
    value = f"{row['model']} {row['perplexity']:.1f} +- {row['stderr_perplexity']:.1f}"
    units = f", {row['active_units']} active units" if "active_units" in row else ""
    parsed = "" if row["parsed"] is None else f", {100 * row['parsed']:.1f} % parse"
    return f"{value} ({row['kind']}{units}{parsed})"


def save(command: Bench, rows: list[dict], start: float, *, summary: str) -> None:
    """The JSON as far as it goes; an interrupted run loses no model that is done."""
    config = {**asdict(command), "data_dir": None, "out": None}
    meta = provenance.meta(config, seconds=time.perf_counter() - start)
    harness.write(command.out, NAMES[command.corpus], rows, meta, summary=summary)


if __name__ == "__main__":
    console.run_script(Bench, main)
