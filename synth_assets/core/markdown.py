"""Takes Markdown out of an answer and leaves its words.

In: `strip_markdown`. Out: every other clean-up (`rules`). Only marks are removed and nothing is added, so
that the result is a subsequence of the answer. List markers stay: they are read in plain text, too. When in
doubt a mark stays: `2*3*4`, `a * b` and `snake_case_names` are no emphasis.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from synth_assets.core.strategy import AnswerContext

# No pattern here can scan the same characters again and again: repeats are possessive (`*+`) or stop at the
# character that starts the next try. An answer is as long as a model likes, and may be made to be awkward.
# Each pattern is tried only where a cheap search has found the marks it begins with: most answers have few of them.
_FENCE_LINE = re.compile(r"^[ \t]*+(?:`{3,}+|~{3,}+)[^\n`]*+(?:\n|\Z)", re.MULTILINE)
_RULE_LINE = re.compile(
    r"^[ \t]*+(?:(?:-[ \t]*+){3,}+|(?:\*[ \t]*+){3,}+|(?:_[ \t]*+){3,}+|={3,}+)(?:\n|\Z)", re.MULTILINE
)
_TABLE_RULE = re.compile(r"^[ \t]*+\|?(?:[ \t]*+:?-{2,}+:?[ \t]*+\|)+[-: \t|]*+(?:\n|\Z)", re.MULTILINE)
_TABLE_ROW = re.compile(r"^[ \t]*+\|[^\n]*+(?<=[| \t])", re.MULTILINE)
_DEFINITION = re.compile(r"^ {0,3}\[([^\[\]\n]++)\]:[ \t]++\S++[^\n]*+(?:\n|\Z)", re.MULTILINE)
_HEADING = re.compile(r"^ {0,3}(?:#{1,6}(?:[ \t]++|$))++([^\n]*+)", re.MULTILINE)
_QUOTE = re.compile(r"^ {0,3}(?:>[ \t]?)++", re.MULTILINE)
_LINK_TEXT = r"\[((?:[^\[\]\n]|\[[^\[\]\n]*+\])*+)\]"  # with one level of brackets in it
_INLINE_LINK = re.compile(rf"!?{_LINK_TEXT}\((?:[^()\n]|\([^()\n]*+\))*+\)")
_REFERENCE_LINK = re.compile(rf"!?{_LINK_TEXT}\[([^\[\]\n]*+)\]")
_FOOTNOTE = re.compile(r"\[\^[^\[\]\s]++\]:?")
_AUTOLINK = re.compile(r"<((?:https?://|mailto:)[^<>\s]++)>")
# The look-behinds stand behind the first mark, so that the search can jump from mark to mark.
_CODE = re.compile(r"`(?<!``)(`?)(?!`)([^`\n]++)`\1(?!`)")
_LINE_MARK = re.compile(r"\n[ \t]*+([-`~*_=|:>#])")
_RUN = re.compile(r"([*_~])\1*+")
_NAME = re.compile(r"(?<![\\\w])__[a-z]\w*?__(?!\w)")  # __init__ is a name in more texts than it is emphasis

_FIRST_IDEOGRAPH = "\u2e80"


def strip_markdown(answer: str, context: AnswerContext) -> str:
    """Headings, emphasis, code ticks, fences, quote marks, rules, table frames and link addresses go."""
    while (plain := _strip_once(answer)) != answer:
        answer = plain
    return plain


def _strip_once(text: str) -> str:
    text = _strip_blocks(text)
    if "[" in text:
        text = _FOOTNOTE.sub("", text)
        text = _INLINE_LINK.sub(r"\1", text) if "](" in text else text
        text = _strip_reference_links(text) if "]:" in text else text
    text = _AUTOLINK.sub(r"\1", text)
    text = _CODE.sub(r"\2", text)
    return _strip_emphasis(text).strip()


def _strip_blocks(text: str) -> str:
    """Whole lines that are marks only, and the marks that lines begin with."""
    marks = _line_marks(text)
    for first_marks, pattern, replacement in _BLOCKS:
        if not marks.isdisjoint(first_marks):
            text = pattern.sub(replacement, text)
            marks = _line_marks(text)
    return text


def _line_marks(text: str) -> set[str]:
    """The marks that lines begin with, behind blanks."""
    return set(_LINE_MARK.findall("\n" + text))


def _heading_text(match: re.Match[str]) -> str:
    words = match[1].rstrip()
    before_closing = words.rstrip("#")
    return before_closing.rstrip() if before_closing != before_closing.rstrip() else words


def _table_cells(match: re.Match[str]) -> str:
    row = match[0].strip()
    return row.strip("| \t") if row.endswith("|") else match[0]


# With the marks that a line has to begin with for the pattern to match in it.
_BLOCKS: tuple[tuple[str, re.Pattern[str], str | Callable[[re.Match[str]], str]], ...] = (
    ("`~", _FENCE_LINE, ""),
    ("-*_=", _RULE_LINE, ""),
    ("|:-", _TABLE_RULE, ""),
    (">", _QUOTE, ""),
    ("#", _HEADING, _heading_text),
    ("|", _TABLE_ROW, _table_cells),
)


def _strip_reference_links(text: str) -> str:
    """Only where the reference is defined: `[1][2]` is a pair of citations, `a[i][j]` is an element."""
    labels = {match[1].casefold() for match in _DEFINITION.finditer(text)}
    if not labels:
        return text

    def link_text(match: re.Match[str]) -> str:
        return match[1] if (match[2] or match[1]).casefold() in labels else match[0]

    return _REFERENCE_LINK.sub(link_text, _DEFINITION.sub("", text))


@dataclass(slots=True)
class _Opener:
    """A run of marks that may begin emphasis; `length` of them are not used yet."""

    start: int
    length: int


def _strip_emphasis(text: str) -> str:
    """Remove the marks of every closed emphasis; one pass, in CommonMark's manner, with stricter borders."""
    removed: list[tuple[int, int]] = []
    openers: dict[str, list[_Opener]] = {"*": [], "_": [], "~": []}
    previous_end = 0
    for match in _RUN.finditer(text):
        start, end = match.span()
        if start < previous_end:
            continue  # inside a name
        if text.find("\n\n", previous_end, start) != -1:
            openers = {mark: [] for mark in openers}
        mark, length = text[start], end - start
        name = _NAME.match(text, start) if mark == "_" and length == 2 else None
        previous_end = name.end() if name else end
        before, after = text[start - 1 : start], text[end : end + 1]
        if name or before == "\\" or length > 3 or (mark == "~" and length != 2):
            continue
        if before and not before.isspace() and not _is_word(after):
            stack = openers[mark]
            while length and stack:
                opener = stack[-1]
                used = min(length, opener.length)
                removed += [(opener.start + opener.length - used, used), (end - length, used)]
                opener.length -= used
                length -= used
                if not opener.length:
                    stack.pop()
                for others in openers.values():
                    while others and others[-1].start > opener.start:
                        others.pop()
        if length == end - start and after and not after.isspace() and not _is_word(before):
            openers[mark].append(_Opener(start, length))
    kept, position = [], 0
    for start, length in sorted(removed):
        kept.append(text[position:start])
        position = start + length
    return "".join([*kept, text[position:]])


def _is_word(character: str) -> bool:
    # Scripts without spaces between words set emphasis inside what counts as one word.
    return character.isalnum() and character < _FIRST_IDEOGRAPH
