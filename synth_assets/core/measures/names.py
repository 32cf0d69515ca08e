"""The names in a text, as far as capital letters tell.

In: which capitalised words are names. Out: whether a text kept them (`facts`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from synth_assets.core.measures.words import UNSPACED

_CAPITALS = "".join(
    re.escape(letter) for code in (*range(0x41, 0x590), *range(0x1E00, 0x2000)) if (letter := chr(code)).isupper()
)
_CAPITALISED = re.compile(rf"(?<!\w)[{_CAPITALS}][^\W{UNSPACED}]+")
_BEFORE_A_SENTENCE = frozenset(".!?:;…•|\n\r")
_OVERLOOKED = frozenset(" \t\u00a0\"'“”‘’«»„()[]*_#>–—-")


def names_of(text: str) -> set[str]:
    """Capitalised words, casefolded, that stand somewhere else than where a sentence, line or heading begins.

    A name of several words counts word by word, so that "Curie" keeps a part of "Marie Curie". Limits: a name that only
    ever begins sentences is missed; capitalised headings and German nouns count as names; scripts without capital
    letters have none; initials (one letter) are left out.
    """
    return {match[0].casefold() for match in _inner_capitalised(text)}


def _inner_capitalised(text: str) -> Iterator[re.Match[str]]:
    for match in _CAPITALISED.finditer(text):
        place = match.start() - 1
        while place >= 0 and text[place] in _OVERLOOKED:
            place -= 1
        if place >= 0 and text[place] not in _BEFORE_A_SENTENCE:
            yield match
