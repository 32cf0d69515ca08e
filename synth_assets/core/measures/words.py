"""The words and n-grams of a text as they are measured.

In: splitting, and which n-grams of one text occur in another. Out: the hash of an n-gram (`core.gram_hashes`), and what
is measured with them (`repetition`, `copying`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from synth_assets.core.gram_hashes import Hashes, gram_hashes, prefix_sums

Marks = npt.NDArray[np.bool_]

UNSPACED = "\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
"""Kana and Han: written without spaces, so that each character counts as a word."""
_WORD = re.compile(rf"[{UNSPACED}]|[^\W{UNSPACED}]+")


@dataclass(frozen=True, eq=False)
class Words:
    """A text's words, casefolded and in order; what is between them does not count."""

    words: list[str]
    _sums: Hashes
    char_ends: npt.NDArray[np.int64]
    """`char_ends[i]` is the number of characters of the first i words."""
    _ordered: dict[int, Hashes] = field(default_factory=dict)

    @classmethod
    def of(cls, text: str) -> Words:
        """The words of a text."""
        words = [word.casefold() for word in _WORD.findall(text)]
        char_ends = np.zeros(len(words) + 1, np.int64)
        np.cumsum(np.fromiter(map(len, words), np.int64, len(words)), out=char_ends[1:])
        return cls(words, prefix_sums(words), char_ends)

    def __len__(self) -> int:
        return len(self.words)

    @property
    def char_count(self) -> int:
        """Characters of all words."""
        return int(self.char_ends[-1])

    def grams(self, n: int) -> Hashes:
        """A hash of each n-gram, in the order of the text; shape (words - n + 1,), or empty."""
        return gram_hashes(self._sums, n)

    def marks_of(self, other: Words, n: int) -> Marks:
        """For each n-gram of the other text, whether it is one of this text's."""
        grams = other.grams(n)
        if n not in self._ordered:
            self._ordered[n] = np.sort(self.grams(n))
        ordered = self._ordered[n]
        if not ordered.size or not grams.size:
            return np.zeros(grams.size, np.bool_)
        places = np.searchsorted(ordered, grams)
        places[places == ordered.size] = 0
        return ordered[places] == grams

    def chars_in(self, is_covered: Marks) -> int:
        """Characters of the marked words."""
        return int(np.diff(self.char_ends)[is_covered].sum())


def word_spans(text: str) -> Iterator[tuple[int, int]]:
    """Where each word of a text stands, from its first character to behind its last."""
    return (found.span() for found in _WORD.finditer(text))


def covered_words(is_marked: Marks, n: int) -> Marks:
    """For each word, whether it is part of a marked n-gram; shape (n-grams + n - 1,)."""
    count = is_marked.size
    steps = np.zeros(count + n, np.int64)
    steps[:count] += is_marked
    steps[n:] -= is_marked
    return np.cumsum(steps[:-1]) > 0
