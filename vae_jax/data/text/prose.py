"""English sentences that come with Python: the prose of its own language reference."""

import functools
import re
from collections.abc import Iterator

_SENTENCE_END = re.compile(r"(?<=[a-z)\"][.!?]) +(?=[A-Z\"(])")
_PARAGRAPH = re.compile(r"\n\s*\n")
_WORD = re.compile(r"\w+(?:['\u2019.-]\w+)*|[^\w\s]")
_MOST_WORDS = 60
_LEAST_LETTERS = 0.75  # of the characters; code and tables have fewer


@functools.cache
def pydoc_sentences() -> tuple[str, ...]:
    """The sentences of `pydoc_data.topics`, in lower case, words and punctuation set apart.

    Each once, in the order of the topics, of at most 60 words. Code, tables and headings are left
    out: a sentence begins with a capital, ends with a full stop and is mostly letters. About 1,500
    of them; their number depends on Python's version.
    """
    from pydoc_data.topics import topics

    paragraphs = (part for name in sorted(topics) for part in _PARAGRAPH.split(topics[name]))
    return tuple(dict.fromkeys(line for part in paragraphs for line in _sentences(part)))


def _sentences(paragraph: str) -> Iterator[str]:
    for sentence in _SENTENCE_END.split(" ".join(paragraph.split())):
        words = _WORD.findall(sentence.lower())
        letters = sum(map(str.isalpha, sentence)) / max(len(sentence), 1)
        is_sentence = re.fullmatch(r"[A-Z].*[a-z)\"][.!?]", sentence) and "::" not in sentence
        if is_sentence and letters > _LEAST_LETTERS and len(words) <= _MOST_WORDS:
            yield " ".join(words)
