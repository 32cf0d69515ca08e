"""Which numbers, dates, quantities and names of its source a text kept, and which it invented.

In: one text's facts, and their comparison. Out: how they are found (`numbers`, `names`). None of this understands a
sentence: a number that was kept in a wrong place counts as kept.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass

from synth_assets.core.measures.names import names_of
from synth_assets.core.measures.numbers import Numbers, numbers_of


@dataclass(frozen=True)
class Facts:
    """What can be checked in a text without understanding it."""

    numbers: Numbers
    names: Set[str]
    words: Set[str]
    """All words, casefolded."""


@dataclass(frozen=True)
class KeptFacts:
    """Shares are of the source's different numbers, dates, quantities or names; null where it has none.

    Counts are of different numbers or names that the source has in no form. A number that one of both spells as an
    English word ("twelve") counts as kept and is not invented; a name counts as a word, in capitals or not.
    """

    kept_number_share: float | None
    invented_number_count: int
    kept_date_share: float | None
    kept_quantity_share: float | None
    kept_name_share: float | None
    invented_name_count: int


def facts_of(text: str, words: Set[str]) -> Facts:
    """The facts of a text whose casefolded words are given."""
    return Facts(numbers_of(text, words), names_of(text), words)


def kept_facts(source: Facts, text: Facts) -> KeptFacts:
    """Compare a text's facts with those of its source."""
    known, said = source.numbers, text.numbers
    return KeptFacts(
        _kept_share(known.numbers, said.numbers | said.spelled),
        len(said.numbers - known.numbers - known.spelled),
        _kept_share(known.dates, said.dates),
        _kept_share(known.quantities, said.quantities),
        _kept_share(source.names, text.words),
        len(text.names - source.words),
    )


def _kept_share(wanted: Set[str], found: Set[str]) -> float | None:
    return len(wanted & found) / len(wanted) if wanted else None
