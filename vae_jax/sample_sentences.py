"""Sentences that a trained run draws: at random, after given words, near a sentence, between two.

Each part asks an ability of the model; one that it lacks is refused in a line.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from bayes_jax.errors import InputError
from bayes_jax.model import GenerativeModel, LatentModel, compilable
from vae_jax.data.kinds import Corpus
from vae_jax.latent_images import encode, interpolate
from vae_jax.trained import TrainedRun, load_data

NUM_STEPS = 7
"""Sentences on the way from one to another, both ends included."""


class Part(NamedTuple):
    """Some sentences of one run.

    Attributes:
        title: what they are.
        sentences: one each.
        log_prob: of each in nats, where the model says it exactly; else None.
    """

    title: str
    sentences: list[str]
    log_prob: np.ndarray | None = None

    def text(self) -> str:
        """A title, and a sentence a line, behind its log p where that is known."""
        lines = self.sentences
        if self.log_prob is not None:
            lines = [
                f"{each:9.2f}  {line}" for each, line in zip(self.log_prob, lines, strict=True)
            ]
        return "\n".join([f"# {self.title}", *lines, ""])


def samples(key: PRNGKeyArray, run: TrainedRun, *, num: int) -> Part:
    """Sentences from p(x).

    Args:
        key: a PRNG key.
        run: on text.
        num: how many.
    """
    rows = run.generative.sample(key, num)
    return _part(run, f"{num} samples of {run.config.system}", rows)


def completions(key: PRNGKeyArray, run: TrainedRun, prefix: str, *, num: int) -> Part:
    """Sentences from p(x | x begins with `prefix`).

    Args:
        key: a PRNG key.
        run: on text.
        prefix: words; those that the vocabulary lacks are `<unk>`, if it has that.
        num: how many.

    Raises:
        InputError: no words, too many for a row, or one that the vocabulary lacks.
    """
    tokens, length = run.seen.vocabulary.encode(prefix)[:-1], run.seen.spec.length
    if not 0 < len(tokens) < length:
        raise InputError(
            f"prefix {prefix!r} has {len(tokens)} tokens: expected 1 to {length - 1}, for a row of "
            f"this run holds {length}"
        )
    rows = run.generative.continuations(key, np.asarray(tokens, np.int32), num)
    return _part(run, f"after {_as_seen(run.seen, prefix)!r}", rows)


def neighbours(key: PRNGKeyArray, run: TrainedRun, sentence: str, *, num: int) -> Part:
    """Sentences from p(x | z), each with its z from q(z | sentence).

    Args:
        key: a PRNG key.
        run: of a model with a latent and a guide.
        sentence: as `completions` takes its prefix.
        num: how many.

    Raises:
        InputError: a model without a guide, a word that the vocabulary lacks.
    """
    model = _with_guide(run, "sentences near another")
    (row,) = _rows(run.seen, [sentence])
    drawn = _near(key, model.latent, compilable(model.guide), jnp.asarray(row), num=num)
    return _part(run, f"near {_as_seen(run.seen, sentence)!r}", drawn)


def between(run: TrainedRun, first: str, last: str, *, num_steps: int = NUM_STEPS) -> Part:
    """On the straight line from E[z | first] to E[z | last], the most probable words at each point.

    Args:
        run: of a model with a latent and a guide.
        first: a sentence, as `completions` takes its prefix.
        last: another one.
        num_steps: points on the line, both ends included.

    Raises:
        InputError: a model without a guide, a word that the vocabulary lacks.
    """
    model = _with_guide(run, "interpolations")
    start, end = encode(model.guide, _rows(run.seen, [first, last]))
    (z,) = interpolate(start[None], end[None], num_steps=num_steps)
    first, last = (_as_seen(run.seen, sentence) for sentence in (first, last))
    return _part(run, f"between {first!r} and {last!r}", _greedy(compilable(model.latent), z))


def random_pair(
    key: PRNGKeyArray, run: TrainedRun, *, data_dir: str | None = None
) -> tuple[str, str]:
    """Two test sentences of a run.

    Args:
        key: chooses them.
        run: on text.
        data_dir: where its corpus lies now; where it lay if None.
    """
    rows = load_data(run, data_dir=data_dir).test
    chosen = jax.random.choice(key, len(rows), (2,), replace=False)
    first, last = run.seen.vocabulary.sentences(rows[np.asarray(chosen)])
    return first, last


def has_guide(run: TrainedRun) -> bool:
    """Whether `neighbours` and `between` can be asked for."""
    return run.generative.latent is not None and run.generative.guide is not None


def _with_guide(run: TrainedRun, what: str) -> GenerativeModel:
    if not has_guide(run):
        raise InputError(
            f"{run.config.system} has no latent to move in: expected a run of text_vae for {what}"
        )
    return run.generative


def _part(run, title: str, rows) -> Part:
    sentences = run.seen.vocabulary.sentences(np.asarray(rows))
    if run.generative.latent is not None:
        return Part(title, sentences)
    # Without a latent nothing is left to integrate out: it is exact.
    evidence = run.generative.log_evidence(jax.random.key(0), jnp.asarray(rows, jnp.float32))
    return Part(f"{title}, behind log p(x) in nats", sentences, np.asarray(evidence.lower))


def _rows(corpus: Corpus, sentences: list[str]):
    rows = corpus.vocabulary.rows(sentences, length=corpus.spec.length)
    return rows.astype(np.float32)


def _as_seen(corpus: Corpus, sentence: str) -> str:
    """With `<unk>` where the vocabulary lacks a word."""
    return corpus.vocabulary.decode(corpus.vocabulary.encode(sentence))


@partial(jax.jit, static_argnames="num")
def _near(key, latent: LatentModel, guide, x, *, num):
    def one(key):
        key_latent, key_sentence = jax.random.split(key)
        return latent.likelihood(guide(x).sample(key_latent)).sample(key_sentence)

    return jax.vmap(one)(jax.random.split(key, num))


@jax.jit
def _greedy(latent: LatentModel, z):
    return jax.vmap(lambda z: latent.likelihood(z).greedy())(z)
