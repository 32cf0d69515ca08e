"""The numbers, dates and quantities in a text, each in one spelling.

In: finding and normalising them. Out: whether a text kept them (`facts`).
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field

from synth_assets.core.measures.english import MONTH_PATTERN, MONTH_WORDS, MONTHS, SPELLED_NUMBERS, UNIT_OF_SPELLING

_NUMBER = re.compile(r"(?<!\w)(?<!\d[.,\u00a0\u202f])\d+(?:[.,\u00a0\u202f]\d+)*")
_GROUPED = re.compile(r"\d{1,3}([,\u00a0\u202f])\d{3}(?:\1\d{3})*(?:\.\d+)?")
_LIST_MARKER = re.compile(r"^[ \t]*\(?\d{1,3}[.)][ \t]+", re.MULTILINE)

_UNIT = re.compile(
    r"[\s-]?(" + "|".join(re.escape(name) for name in sorted(UNIT_OF_SPELLING, key=len, reverse=True)) + r")(?!\w)"
)

_DAY = r"(\d{1,2})(?:st|nd|rd|th)?"
_DATES = (
    # 12 March 1907, 12th of March
    (re.compile(rf"(?<!\d){_DAY}\s+(?:of\s+)?({MONTH_PATTERN})\b\.?(?:,?\s+(\d{{4}})(?!\d))?"), (3, 2, 1)),
    # March 12, 1907
    (re.compile(rf"\b({MONTH_PATTERN})\.?\s+{_DAY}(?!\d)(?:,?\s+(\d{{4}})(?!\d))?"), (3, 1, 2)),
    # March 1907
    (re.compile(rf"\b({MONTH_PATTERN})\.?,?\s+(\d{{4}})(?!\d)()"), (2, 1, 3)),
)
_ISO_DATE = re.compile(r"(?<![\d-])(\d{4})-(\d{2})-(\d{2})(?![\d-])")


@dataclass(frozen=True)
class Numbers:
    """What a text says in digits, normalised: "1,234" is "1234", "2.50" is "2.5", "5 per cent" is "5 %".

    Limits: month names, units and spelled numbers are English; "1.234" is a fraction; a number that is part of a word
    ("B12") is none; the marker of a numbered list is none.
    """

    numbers: set[str] = field(default_factory=set)
    quantities: set[str] = field(default_factory=set)
    """A number with its unit or currency."""
    dates: set[str] = field(default_factory=set)
    """Years from 1000 to 2099, and year-month-day with what is not given left out."""
    spelled: set[str] = field(default_factory=set)
    """Numbers up to twenty, tens and some more, that stand there as words."""


def numbers_of(text: str, words: Collection[str]) -> Numbers:
    """All numbers of a text; `words` are its casefolded words."""
    found = Numbers(spelled={SPELLED_NUMBERS[word] for word in SPELLED_NUMBERS.keys() & set(words)})
    text = _LIST_MARKER.sub("", text)
    for match in _NUMBER.finditer(text):
        number = normal_number(match[0])
        found.numbers.add(number)
        unit = _UNIT.match(text, match.end())
        if unit is not None:
            found.quantities.add(f"{number} {UNIT_OF_SPELLING[unit[1]]}")
        elif (before := text[match.start() - 1 : match.start()]) and before in "$€£¥":
            found.quantities.add(f"{number} {before}")
        elif len(match[0]) == 4 and match[0].isdigit() and "1000" <= number <= "2099":
            found.dates.add(number)
    found.dates.update(_full_dates(text, words))
    return found


def normal_number(written: str) -> str:
    """One spelling for a number: no grouping, a point for the fraction, no zeros that say nothing."""
    if _GROUPED.fullmatch(written):
        written = re.sub(r"[,\u00a0\u202f]", "", written)
    elif not written.isdigit():
        written = re.sub(r"[,\u00a0\u202f]", ".", written)
    if written.count(".") == 1:
        written = written.rstrip("0").rstrip(".")
    whole, point, rest = written.partition(".")
    return (whole.lstrip("0") or "0") + point + rest


def _full_dates(text: str, words: Collection[str]) -> set[str]:
    dates: set[str] = set()
    if "-" in text:
        dates.update(f"{match[1]}-{int(match[2])}-{int(match[3])}" for match in _ISO_DATE.finditer(text))
    # The patterns cost more than all else here, and few texts name a month.
    if MONTH_WORDS.isdisjoint(words):
        return dates
    for pattern, (year, month, day) in _DATES:
        for match in pattern.finditer(text):
            number = MONTHS.index(match[month][:3].casefold()) + 1
            dates.add(f"{match[year] or ''}-{number}-{int(match[day]) if match[day] else ''}")
    # The month and year of a whole date are none of their own.
    dates -= {whole.rpartition("-")[0] + "-" for whole in dates if not whole.endswith("-")}
    return dates
