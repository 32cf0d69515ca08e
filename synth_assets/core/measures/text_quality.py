"""All measures of one text, by itself and against the text it was made of: a row of `metrics.text_quality`.

In: which measures there are, and reading a source once for all that was made of it. Out: each measure (the modules
beside this one), the table (`synth_assets.core.quality_tables`), and how texts of one strategy begin alike, which one
text cannot tell (`synth_assets.assets.text_quality`). Whether a statement follows from the source takes a model: that
is the judge's part.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from synth_assets.core.measures.copying import copying
from synth_assets.core.measures.facts import Facts, facts_of, kept_facts
from synth_assets.core.measures.language import language_of
from synth_assets.core.measures.repetition import compression_ratio, repetition
from synth_assets.core.measures.words import Words


@dataclass(frozen=True)
class TextQuality:
    """The measures of one text; those against a source are null for an original. See each module for definitions."""

    word_count: int
    length_ratio: float | None
    """Characters of the text by characters of the source."""
    compression_ratio: float
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
    language: str | None
    novel_4gram_share: float | None = None
    copied_share: float | None = None
    longest_copied_run_words: int | None = None
    kept_number_share: float | None = None
    invented_number_count: int | None = None
    kept_date_share: float | None = None
    kept_quantity_share: float | None = None
    kept_name_share: float | None = None
    invented_name_count: int | None = None
    is_language_kept: bool | None = None
    """Null where the language of one of both cannot be told."""


@dataclass(frozen=True, eq=False)
class _Read:
    words: Words
    facts: Facts
    language: str | None


def measure(source: str | None, text: str) -> TextQuality:
    """Measure a text; `source` is None for an original.

    The source is read once for consecutive texts made of it, which takes half of the time off.
    """
    read = _read(text)
    alone = {
        "word_count": len(read.words),
        "compression_ratio": compression_ratio(text),
        **vars(repetition(text, read.words)),
        "language": read.language,
    }
    if source is None:
        return TextQuality(length_ratio=None, **alone)
    origin = _read(source)
    languages = {origin.language, read.language}
    return TextQuality(
        length_ratio=len(text) / len(source) if source else None,
        **alone,
        **vars(copying(origin.words, read.words)),
        **vars(kept_facts(origin.facts, read.facts)),
        is_language_kept=None if None in languages else len(languages) == 1,
    )


@lru_cache(maxsize=2)
def _read(text: str) -> _Read:
    words = Words.of(text)
    return _Read(words, facts_of(text, frozenset(words.words)), language_of(text))
