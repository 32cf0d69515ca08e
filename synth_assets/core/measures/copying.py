"""How much of a text stands word for word in the text it was made of.

In: shares of n-grams and the longest run. Out: what a run of words is (`words`), and what is too much (`gates`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from synth_assets.core.measures.words import Marks, Words, covered_words

COPIED_RUN_WORDS = 8
"""A run of this many words is seldom the same in two texts by chance."""


@dataclass(frozen=True)
class Copying:
    """What a text has of its source's wording; case and punctuation do not count."""

    novel_4gram_share: float | None
    """Share of the text's 4-grams that the source does not have; null under 4 words."""
    copied_share: float | None
    """Share of the text's words in runs of at least 8 words that the source has, too; null without words."""
    longest_copied_run_words: int
    """Most consecutive words that stand in the source in the same order without a gap."""


def copying(source: Words, text: Words) -> Copying:
    """Compare a text's words with those of its source."""
    is_known = source.marks_of(text, 4)
    is_copied = source.marks_of(text, COPIED_RUN_WORDS)
    return Copying(
        1 - float(is_known.mean()) if is_known.size else None,
        copied_share(is_copied, len(text)),
        _longest_run_words(source, text, is_known, is_copied),
    )


def copied_share(is_copied: Marks, word_count: int) -> float | None:
    """Share of the words that are part of a marked 8-gram."""
    if not word_count:
        return None
    return float(covered_words(is_copied, COPIED_RUN_WORDS).sum() / word_count) if is_copied.any() else 0.0


def _longest_run_words(source: Words, text: Words, is_known: Marks, is_copied: Marks) -> int:
    """By bisection between what the marked 4- and 8-grams prove and what they allow: mostly one look is enough."""
    if is_copied.any():
        low, high = COPIED_RUN_WORDS, _longest_stretch(is_copied) + COPIED_RUN_WORDS - 1
    elif is_known.any():
        low, high = 4, min(COPIED_RUN_WORDS - 1, _longest_stretch(is_known) + 3)
    else:
        low, high = 0, min(3, len(source), len(text))
    middle = high
    while low < high:
        if source.marks_of(text, middle).any():
            low = middle
        else:
            high = middle - 1
        middle = (low + high + 1) // 2
    return low


def _longest_stretch(marks: Marks) -> int:
    ends = np.concatenate(([False], marks, [False]))
    edges = np.flatnonzero(ends[1:] != ends[:-1])
    return int((edges[1::2] - edges[::2]).max(initial=0))
