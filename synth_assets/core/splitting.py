"""Splits a span of a text at its paragraphs, lines, sentences, words or characters.

In: one function for each kind of border; each returns trimmed, non-empty spans in order, between which there
is only whitespace. Out: which pieces are needed and how they are packed (`segmentation`). All are linear.
"""

from __future__ import annotations

import re
from itertools import pairwise

from synth_assets.core.sentences import sentence_ends

Span = tuple[int, int]
"""Character offsets `(start, end)` into a text."""

_BREAK_CHARACTERS = "\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"
_BREAK = re.compile(rf"[{_BREAK_CHARACTERS}]\s*")
_BLANK_LINE = re.compile(rf"(?>\r\n|[{_BREAK_CHARACTERS}])\s*?[{_BREAK_CHARACTERS}]")
_WORD = re.compile(r"\S+")


def trimmed(text: str, start: int, end: int) -> Span | None:
    """The span without whitespace at its ends; None when nothing else is in it."""
    piece = text[start:end]
    left = len(piece) - len(piece.lstrip())
    return None if left == len(piece) else (start + left, start + len(piece.rstrip()))


def paragraphs(text: str, span: Span) -> list[Span]:
    """Split at blank lines."""
    breaks = _BREAK.finditer(text, *span)
    return _split(text, span, [match.end() for match in breaks if _BLANK_LINE.match(match.group())])


def lines(text: str, span: Span) -> list[Span]:
    """Split at line breaks of any kind."""
    return _split(text, span, [match.end() for match in _BREAK.finditer(text, *span)])


def sentences(text: str, span: Span) -> list[Span]:
    """Split behind sentence ends."""
    return _split(text, span, list(sentence_ends(text, *span)))


def words(text: str, span: Span, size: int) -> list[Span]:
    """Pack whole words into pieces of at most `size` characters; a longer word stays whole, by itself.

    A span that is a single word is split at characters, into pieces of `size`.
    """
    found = [match.span() for match in _WORD.finditer(text, *span)]
    if len(found) == 1:
        start, end = found[0]
        return [(at, min(at + size, end)) for at in range(start, end, size)]
    pieces = found[:1]
    for start, end in found[1:]:
        if end - pieces[-1][0] <= size:
            pieces[-1] = (pieces[-1][0], end)
        else:
            pieces.append((start, end))
    return pieces


def _split(text: str, span: Span, cuts: list[int]) -> list[Span]:
    edges = pairwise([span[0], *cuts, span[1]])
    return [piece for start, end in edges if (piece := trimmed(text, start, end)) is not None]
