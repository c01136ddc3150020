"""The models of sentences that benchmarks/text.py holds side by side, each fitted on its own."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from bayes_jax.exact import grammar, hmm, ngram
from bayes_jax.importance import importance_bound
from bayes_jax.sequences import END, in_sentence, lengths
from vae_jax import training
from vae_jax.configs import LanguageModelConfig, SequenceConfig, TextVAEConfig, TrainConfig
from vae_jax.data.text import TextDataset, synthetic
from vae_jax.latent_information import MOST_EXAMPLES, information
from vae_jax.objectives.units import active_units
from vae_jax.systems.text import build_language_model, build_text_vae

NUM_STATES = 32
_LENGTH_STEP = 8  # sentences of about one length are scored together
_AT_ONCE = 100


class Settings(NamedTuple):
    """How a network is trained.

    Attributes:
        network: of the language model, the encoder and the decoder.
        loop: the epochs.
    """

    network: SequenceConfig
    loop: TrainConfig


class Fitted(NamedTuple):
    """A model of sentences.

    Attributes:
        log_prob: rows `[num, length]` -> log p of each in nats, exact or as `kind` says.
        sample: `(key, num) -> rows`.
        kind: of what `log_prob` gives.
        seconds: of the fit, on the wall.
        details: what only this family has.
    """

    log_prob: Callable
    sample: Callable
    kind: str
    seconds: float = 0.0
    details: dict | None = None


def fit_ngram(key, dataset: TextDataset, *, order: int) -> Fitted:
    """Modified Kneser-Ney."""
    del key
    start = time.perf_counter()
    params = ngram.fit_params(dataset.train, num_tokens=dataset.spec.num_tokens, order=order)
    return Fitted(
        partial(ngram.log_prob, params),
        lambda key, num: ngram.sample(key, params, num, length=dataset.spec.length),
        "exact",
        time.perf_counter() - start,
    )


def fit_hmm(key, dataset: TextDataset, *, num_iterations: int) -> Fitted:
    """Words emitted by hidden states, the end of a sentence one of them; by EM from one start."""
    start = time.perf_counter()
    params = hmm.fit_params(
        key,
        dataset.train,
        num_states=NUM_STATES,
        lengths=lengths(dataset.train),
        num_tokens=dataset.spec.num_tokens,
        pseudo_count=0.01,
        num_restarts=1,
        num_iterations=num_iterations,
    )
    jax.block_until_ready(params)

    def sample(key, num):
        draws = np.asarray(hmm.HiddenMarkov(params, dataset.spec.length).sample(key, (num,)))
        return np.where(in_sentence(draws), draws, END)

    log_prob = jax.jit(jax.vmap(partial(hmm.log_evidence, params)))
    seconds = time.perf_counter() - start
    return Fitted(lambda x: log_prob(x, lengths(x)), sample, "exact", seconds)


def fit_language_model(key, dataset: TextDataset, settings: Settings) -> Fitted:
    """Tokens given those before them."""
    config = LanguageModelConfig(settings.network)
    system = build_language_model(config, dataset.spec)
    result = _trained(key, system, dataset, settings)
    model = system.generative(result.state)

    def log_prob(x):
        parts = [x[first : first + _AT_ONCE] for first in range(0, len(x), _AT_ONCE)]
        return np.concatenate([model.log_evidence(key, part).lower for part in parts])

    return Fitted(log_prob, model.sample, "exact", result.seconds)


def fit_text_vae(key, dataset: TextDataset, settings: Settings, *, num_samples: int) -> Fitted:
    """The same network given a latent of the sentence; evidence from below, by importance."""
    config = TextVAEConfig(encoder=settings.network, decoder=settings.network)
    key_fit, key_information, key_evidence = jax.random.split(key, 3)
    system = build_text_vae(config, dataset.spec)
    result = _trained(key_fit, system, dataset, settings)
    model = system.generative(result.state)
    x = jnp.asarray(dataset.test[:MOST_EXAMPLES], jnp.float32)
    carried = information(key_information, model.latent, x, guide=model.guide)
    details = {
        "latent_units": config.latent_dim,
        "active_units": int(active_units(model.guide, x)),
        **{name: float(np.mean(each)) for name, each in carried._asdict().items()},
    }

    def model_of(length):
        return build_text_vae(config, replace(dataset.spec, length=length)).generative(result.state)

    evidence = partial(_evidence, key_evidence, model_of, num_samples=num_samples)
    kind = f"importance bound of {num_samples}"
    return Fitted(evidence, model.sample, kind, result.seconds, details)


def know_grammar(key, dataset: TextDataset) -> Fitted:
    """The grammar that wrote the sentences."""
    del key
    to_text = dataset.vocabulary.sentences

    def sample(key, num):
        rules, vocabulary = synthetic.grammar()
        rows, _ = grammar.sample(key, rules, num)
        return dataset.vocabulary.rows(vocabulary.sentences(rows), length=dataset.spec.length)

    return Fitted(lambda x: synthetic.log_prob(to_text(x)), sample, "exact")


def _trained(key, system, dataset: TextDataset, settings: Settings) -> training.FitResult:
    def say(report: training.EpochReport) -> None:
        value = report.validation["objective"]
        print(f"  epoch {report.epoch}: {value:.2f} nats, {report.seconds:.0f} s", flush=True)

    return training.fit(key, system, dataset.train, dataset.validation, settings.loop, on_epoch=say)


def _evidence(key, model_of: Callable, x, *, num_samples: int) -> np.ndarray:
    """The bound of each sentence, in rows that are hardly longer than it."""
    found = np.zeros(len(x))
    for places, length in _by_length(x):
        model = model_of(length)
        found[places] = importance_bound(
            jax.random.fold_in(key, length),
            model.latent,
            x[places, :length],
            guide=model.guide,
            num_samples=num_samples,
            batch_size=1,
        ).lower
    return found


def _by_length(x) -> Iterator[tuple[np.ndarray, int]]:
    """The places of sentences of about one length, and the length of a row that holds them."""
    steps = -(-lengths(x) // _LENGTH_STEP)
    for step in np.unique(steps):
        yield np.flatnonzero(steps == step), min(int(step) * _LENGTH_STEP, x.shape[1])
