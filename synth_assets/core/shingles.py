"""What of a text counts when it is compared with others: runs of five words, without labels and without its opening.

In: which words count. Out: sketching and comparing (`near_duplicates`).

Rephrased texts open alike ("The text describes …") and repeat labels ("Question:", "Answer:"). Where these count, short
texts with different contents are taken for copies of each other: a shared opening of s shingles before contents of c
each gives a similarity of s / (s + 2c), which passes 0.8 as soon as s is more than 8c.
"""

from __future__ import annotations

import re

from synth_assets.core.words import words

SHINGLE_WORDS = 5
"""As RefinedWeb (arXiv:2306.01116) and FineWeb (arXiv:2406.17557) have it."""

OPENING_WORDS = 32
"""Left out at the beginning of a text: two sentences, which is as much as an announced opening takes."""

MIN_SHINGLES = 20
"""With fewer, one word changes a quarter of them, and whatever they share of a template decides: such texts are only
compared as a whole."""

_LABEL = re.compile(
    r"^[^\S\n]*(?:[-*•#>]+[^\S\n]*|\d{1,3}[.)][^\S\n]*)?(?:\w+[^\S\n]+){0,2}\w+\**[^\S\n]*:", re.MULTILINE
)
"""Up to three words before a colon at the beginning of a line."""


def shingles(text: str) -> frozenset[str]:
    """Distinct runs of five words of what counts; empty where fewer than 20 remain."""
    body = words(_LABEL.sub(" ", text))[OPENING_WORDS:]
    count = len(body) - SHINGLE_WORDS + 1
    if count < MIN_SHINGLES:
        return frozenset()
    found = frozenset(map(" ".join, zip(*(body[place : place + count] for place in range(SHINGLE_WORDS)), strict=True)))
    return found if len(found) >= MIN_SHINGLES else frozenset()
