"""What is new in a text against the document it was made of, as runs that a page can mark.

In: splitting a text into runs of new, copied and other words. Out: what a word is and which words another text has
(`core.measures.words`), and how a run looks (the template).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Literal

from synth_assets.core.measures.words import Words, covered_words, word_spans

COPIED_WORDS = 4
"""Runs of so many words count as the source's wording, as in the measure of new 4-grams."""

Kind = Literal["new", "copied", "other"]


@dataclass(frozen=True)
class Run:
    """Consecutive characters of one kind; the runs of a text put together are the text."""

    text: str
    kind: Kind


def runs(source: str, text: str, max_chars: int | None = None) -> list[Run]:
    """The text as runs: words that the source does not have at all, wording that it has, and everything else.

    Case and punctuation do not count. What is beyond `max_chars` is left out, but was compared.
    """
    spans = list(word_spans(text))
    kinds = _kinds(Words.of(source), Words.of(text))
    found: list[Run] = []
    place = 0
    for kind, group in groupby(zip(spans, kinds, strict=True), key=itemgetter(1)):
        words = [span for span, _ in group]
        start, end = words[0][0], words[-1][1]
        found += [Run(text[place:start], "other"), Run(text[start:end], kind)]
        place = end
    found.append(Run(text[place:], "other"))
    return list(_cut(found, len(text) if max_chars is None else max_chars))


def _kinds(source: Words, text: Words) -> list[Kind]:
    """The kind of each word of the text."""
    is_known = source.marks_of(text, 1)
    if len(text) >= COPIED_WORDS:
        is_copied = covered_words(source.marks_of(text, COPIED_WORDS), COPIED_WORDS)
    else:
        is_copied = [False] * len(text)
    return [
        "copied" if copied else "other" if known else "new" for known, copied in zip(is_known, is_copied, strict=True)
    ]


def _cut(found: list[Run], max_chars: int) -> Iterator[Run]:
    for run in found:
        if run.text and max_chars > 0:
            yield Run(run.text[:max_chars], run.kind)
        max_chars -= len(run.text)
