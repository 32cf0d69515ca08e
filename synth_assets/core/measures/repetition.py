"""How much a text repeats itself: Gopher's measures and the compression ratio.

In: Rae et al. 2021 (arXiv:2112.11446), table A1; Shaib et al. 2024 (arXiv:2403.00553) for compression. Out: what is too
much (`synth_assets.core.gates`), and how texts repeat each other (`openings` of `metrics.text_quality`).
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from synth_assets.core.measures.words import Marks, Words, covered_words

_PARAGRAPH_BREAK = re.compile(r"\n\s*\n")


@dataclass(frozen=True)
class Repetition:
    """Shares from 0 to 1; of lines and paragraphs by their number, of n-grams by the characters of their words.

    Gopher's limits are 0.30 for lines and paragraphs; 0.20, 0.18, 0.16 for the most frequent 2-, 3- and 4-gram; 0.15,
    0.14, 0.13, 0.12, 0.11, 0.10 for repeated 5- to 10-grams. The first occurrence does not count, an
    n-gram that occurs once is no frequent one, and a character counts once.
    """

    duplicate_line_share: float
    duplicate_paragraph_share: float
    top_2gram_share: float
    top_3gram_share: float
    top_4gram_share: float
    duplicate_5gram_share: float
    duplicate_6gram_share: float
    duplicate_7gram_share: float
    duplicate_8gram_share: float
    duplicate_9gram_share: float
    duplicate_10gram_share: float


GOPHER_LIMITS = Repetition(0.30, 0.30, 0.20, 0.18, 0.16, 0.15, 0.14, 0.13, 0.12, 0.11, 0.10)
"""A document over any of these was left out of Gopher's training data."""


def repetition(text: str, words: Words) -> Repetition:
    """All of Gopher's measures of one text, whose words are given."""
    tops = [top_share(words, 2)]
    # What no 2-gram does, no longer one does: most of a clean text's work ends here.
    tops += [top_share(words, n) if tops[0] else 0.0 for n in (3, 4)]
    duplicates: list[float] = []
    for n in range(5, 11):
        is_repeated = tops[-1] > 0 and (not duplicates or duplicates[-1] > 0)
        duplicates.append(duplicate_share(words, n) if is_repeated else 0.0)
    return Repetition(
        _repeated_share([line.strip() for line in text.split("\n")]),
        _repeated_share([paragraph.strip() for paragraph in _PARAGRAPH_BREAK.split(text)]),
        *tops,
        *duplicates,
    )


def compression_ratio(text: str) -> float:
    """Bytes of the text by bytes of the same compressed (zlib, level 6); 1 for an empty text.

    English prose of 2 KB has about 2, of 100 KB nearer 3: compare texts of like length.
    """
    data = text.encode("utf-8", "surrogatepass")
    return len(data) / len(zlib.compress(data, 6)) if data else 1.0


def top_share(words: Words, n: int) -> float:
    """Share of the characters that are in the most frequent n-gram; of equally frequent ones the longest counts."""
    grams = words.grams(n)
    if not grams.size:
        return 0.0
    _, first, counts = np.unique(grams, return_index=True, return_counts=True)
    most = counts.max()
    if most < 2:
        return 0.0
    starts = first[counts == most]
    longest = (words.char_ends[starts + n] - words.char_ends[starts]).max()
    return min(1.0, float(longest * most / words.char_count))


def duplicate_share(words: Words, n: int) -> float:
    """Share of the characters that are in an n-gram which stood in the text before."""
    is_repeat = _is_repeat(words, n)
    if not is_repeat.any():
        return 0.0
    return words.chars_in(covered_words(is_repeat, n)) / words.char_count


def _is_repeat(words: Words, n: int) -> Marks:
    grams = words.grams(n)
    is_repeat = np.ones(grams.size, np.bool_)
    is_repeat[np.unique(grams, return_index=True)[1]] = False
    return is_repeat


def _repeated_share(parts: Sequence[str]) -> float:
    written = [part for part in parts if part]
    return 1 - len(set(written)) / len(written) if written else 0.0
