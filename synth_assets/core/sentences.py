"""Where sentences end.

In: one conservative rule for sentence ends, shared by segmentation and clean-up. Out: what is done with
them. The rule would rather miss an end than see one in "Dr. Smith", "J. K. Rowling", "U.S. Navy" or behind a
number that was cut at its decimal point.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

# Each alternative starts only at the head of a run of marks: "......" costs one scan, not one for each dot. The
# look-behinds stand behind the first mark, so that the search can jump from mark to mark.
_MARK = re.compile(
    r"[.!?…。！？](?:"
    r"(?<=[.!?…])(?<![.!?…][.!?…])[.!?…]*+[\"'”’»)\]*_`]*+(?=\s|\Z)"
    r"|(?<=[。！？])(?<![。！？][。！？])[。！？]*+[”’」』）]*+)"
)

_ABBREVIATION = re.compile(
    r"(?:al|approx|ca|cf|capt|col|dr|e\.g|etc|fig|gen|hon|i\.e|inc|jr|lt|ltd|maj|messrs|mr|mrs|ms|mt|prof"
    r"|rev|sgt|sr|st|viz|vs)",
    re.IGNORECASE,
)
_INITIALS = re.compile(r"(?:[^\W\d_]\.)*[^\W\d_]")
_SHORT_NUMBER = re.compile(r"\d{1,3}|\d[\d,]*\.\d+|\d{1,3}(?:,\d{3})+")
_LONGEST_WORD = 24


def sentence_ends(text: str, start: int = 0, end: int | None = None) -> Iterator[int]:
    """Offsets just behind each sentence of `text[start:end]` and its closing quotes, in order."""
    end = len(text) if end is None else end
    for match in _MARK.finditer(text, start, end):
        if text[match.start()] != "." or not _is_inside_sentence(text, start, match.start()):
            yield match.end()


def _is_inside_sentence(text: str, start: int, dot: int) -> bool:
    before = text[max(start, dot - _LONGEST_WORD) : dot]
    if not before or before[-1].isspace():
        return False
    word = before.split()[-1].lstrip("([{\"'“‘«*_")
    return any(pattern.fullmatch(word) for pattern in (_ABBREVIATION, _INITIALS, _SHORT_NUMBER))
