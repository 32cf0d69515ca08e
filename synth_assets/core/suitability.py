"""Is a document worth rephrasing? Encyclopedic prose is; stubs, lists, tables and other languages are not.

In: the rules and their thresholds, each with its reason. Out: quality of the text beyond its form, and what
happens to a rejected document. The rules are cheap (one pass over the lines) and conservative: in doubt, a
document is a candidate. Thresholds were set on 60 distinct English Wikipedia articles in Curator's format,
where prose shares leave a wide gap: lists and disambiguation pages reach 0.13, articles begin at 0.47 (half
of that one is a cladogram) and most are above 0.9.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Literal

RejectionReason = Literal[
    "stub", "list_heavy", "table_heavy", "disambiguation", "non_prose", "wrong_language", "too_large"
]

MAX_CHARS = 5_000_000
"""Half as long again as War and Peace: no article, but a dump that went into one row by mistake."""

MIN_PROSE_CHARS = 500
"""Characters in lines of prose, some 80 words: less cannot be said in another way without inventing."""

MIN_PROSE_SHARE = 0.3
"""Share of characters in lines of prose, by their form: extracted lists have lost their bullets."""

MAX_TABLE_SHARE = 0.4
"""Share of characters in table rows. An article with the odd table (9% in a tennis player's) stays."""

MIN_LETTER_SHARE = 0.7
"""Letters among the characters that are no white space: articles have 0.90 to 0.98."""

MIN_LIST_LETTER_SHARE = 0.85
"""Lines that are no prose are a list where they are words (0.88 and up), and code or data below that."""

MAX_WORDS_PER_SENTENCE_END = 60
"""Articles have 11 to 31; long lines without full stops are keywords, logs or extraction debris."""

MIN_FUNCTION_WORD_SHARE = 0.04
"""English prose has 0.15 to 0.26 of the words below; others share but a word (Dutch `of`, Danish `for`)."""

MIN_WORDS_FOR_LANGUAGE = 100
"""With fewer, the share of function words says little."""

_LEAD_CHARS = 500
_PROSE_LINE_CHARS = 120
_SENTENCE_LINE_CHARS = 40
_TERM_LINE_CHARS = 240

_FUNCTION_WORDS = frozenset(
    ["the", "and", "of", "to", "that", "with", "for", "from", "by", "are", "which", "were", "this", "have"]
)
_LANGUAGE_NAMES = {"english": "en", "eng": "en"}
_UNKNOWN_LANGUAGES = frozenset({"", "und", "unknown", "none", "null", "nan", "mul", "zxx"})

_WORD = re.compile(r"[^\W\d_]+")
_SENTENCE_END = re.compile(r"""[.!?…。！？]["”’»)\]]*(?=\s|$)""")
_LINE_END = re.compile(r"""[.!?…。！？]["”’»)\]]*$""")
_REFERS_TO = re.compile(r"\b(?:may|can|could|might)(?: also)? (?:refer to|stand for)\b", re.IGNORECASE)
# A bullet, "12.", "a)", or a year or span of years before a dash or colon, as in a chronology.
_LIST_ITEM = re.compile(
    r"(?:[-*•·–—+#◦▪]+|\(?\d{1,3}[.):]|\(?[a-z][.)]"
    r"|(?:c\. ?)?\d{1,4}(?:s| BCE?| CE| AD)?(?:\s*[–—-]\s*(?:c\. ?)?\d{2,4})?(?: BCE?| CE| AD)?\s*[:–—-])\s"
)
_TERM_AND_GLOSS = re.compile(r"[^.!?:–—]{2,60}(?:\s[–—-]|:)\s")


def judge_suitability(
    title: str, text: str, language: str | None, expected_language: str = "en"
) -> RejectionReason | None:
    """None for a candidate, else the first reason why the document is none.

    `language` is what Curator says, as a code or a name; where it says nothing, a text that is prose is held
    against English function words, provided that English is expected.
    """
    if len(text) > MAX_CHARS:
        return "too_large"
    code = _language_code(language)
    if code is not None and code != _language_code(expected_language):
        return "wrong_language"
    shares = _line_shares(text)
    if "(disambiguation)" in title.lower():
        return "disambiguation"
    if shares.prose < 0.5 and _REFERS_TO.search(text[:_LEAD_CHARS]):
        return "disambiguation"
    if len(text.strip()) < MIN_PROSE_CHARS:
        return "stub"
    letter_share = _letter_share(text)
    if shares.table > MAX_TABLE_SHARE:
        return "table_heavy"
    if letter_share < MIN_LETTER_SHARE:
        return "non_prose"
    if shares.prose < MIN_PROSE_SHARE:
        return "list_heavy" if letter_share >= MIN_LIST_LETTER_SHARE else "non_prose"
    if shares.prose * len(text) < MIN_PROSE_CHARS:
        return "stub"
    if len(text.split()) > MAX_WORDS_PER_SENTENCE_END * max(1, len(_SENTENCE_END.findall(text))):
        return "non_prose"
    if code is None and _language_code(expected_language) == "en" and not _may_be_english(text):
        return "wrong_language"
    return None


@dataclass(frozen=True)
class _LineShares:
    """Shares of the characters that stand in lines of each form; the rest are short lines and list items."""

    prose: float
    table: float


def _line_shares(text: str) -> _LineShares:
    total = prose = table = 0
    lines = text.split("\n")
    for raw, following in zip(lines, [*lines[1:], ""], strict=True):
        line = raw.strip()
        total += len(line)
        if line.count("|") >= 2 or raw.count("\t") >= 2:
            table += len(line)
        elif _is_prose(line, following):
            prose += len(line)
    return _LineShares(prose / total, table / total) if total else _LineShares(0.0, 0.0)


def _is_prose(line: str, following: str) -> bool:
    """A long line, one that ends as a sentence does, or a wrapped one; but no list item or glossary entry."""
    if len(line) < _SENTENCE_LINE_CHARS or _LIST_ITEM.match(line):
        return False
    if len(line) < _TERM_LINE_CHARS and _TERM_AND_GLOSS.match(line):
        return False
    goes_on = following.lstrip()[:1].islower()
    is_wrapped = goes_on and line[0].isalpha() and (line[-1].isalnum() or line[-1] in ",;")
    return len(line) >= _PROSE_LINE_CHARS or is_wrapped or _LINE_END.search(line) is not None


def _letter_share(text: str) -> float:
    visible = len("".join(text.split()))
    letters = sum(map(str.isalpha, text))
    if not text.isascii():  # vowel signs of Indic scripts are marks, not letters
        letters += sum(char > "\u02ff" and unicodedata.category(char).startswith("M") for char in text)
    return letters / visible if visible else 0.0


def _language_code(language: str | None) -> str | None:
    """`en` of en, EN, en-GB, English, __label__en and fastText's "[0.97, 'EN']"; None: it says nothing."""
    found = _WORD.findall((language or "").lower().replace("__label__", ""))
    if not found or found[0] in _UNKNOWN_LANGUAGES:
        return None
    return _LANGUAGE_NAMES.get(found[0], found[0])


def _may_be_english(text: str) -> bool:
    words = _WORD.findall(text)
    if len(words) < MIN_WORDS_FOR_LANGUAGE:
        return True
    hits = sum(word.lower() in _FUNCTION_WORDS for word in words)
    return hits >= MIN_FUNCTION_WORD_SHARE * len(words)
