"""Gopher's measures and compression, on texts whose repetition can be counted by hand."""

from __future__ import annotations

from dataclasses import astuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth_assets.core.measures.repetition import GOPHER_LIMITS, Repetition, compression_ratio, repetition
from synth_assets.core.measures.words import Words

PROSE = (
    "The lighthouse at the head of the bay was finished in 1874, after three winters in which storms carried off the "
    "scaffolding. Its keeper kept a diary of ships and weather. Nobody read it until a student found the volumes in "
    "the parish archive and saw that they filled a gap in the record of the North Atlantic.\n\n"
    "What makes the diary valuable is its regularity: one entry at dawn, another at dusk, and no day left out."
)


def measured(text: str) -> Repetition:
    return repetition(text, Words.of(text))


def test_plain_prose_stays_under_every_limit_of_gopher():
    assert all(value <= limit for value, limit in zip(astuple(measured(PROSE)), astuple(GOPHER_LIMITS), strict=True))


def test_a_loop_is_over_every_limit_of_gopher():
    loop = "\n\n".join(["The keeper writes down the wind, the tide and the ships that pass by."] * 12)
    assert all(value > limit for value, limit in zip(astuple(measured(loop)), astuple(GOPHER_LIMITS), strict=True))


def test_the_first_of_equal_lines_and_paragraphs_is_no_duplicate():
    found = measured("one\ntwo\none\n\none\n\none")
    assert found.duplicate_line_share == pytest.approx(3 / 5)
    assert found.duplicate_paragraph_share == pytest.approx(1 / 3)


def test_the_top_ngram_counts_with_all_its_occurrences_by_characters():
    # "aa bb" three times, 12 of 20 characters.
    assert measured("aa bb cc aa bb dd aa bb ee ff").top_2gram_share == pytest.approx(12 / 20)


def test_of_equally_frequent_ngrams_the_longest_is_the_top_one():
    assert measured("a b longer words x a b y longer words").top_2gram_share == pytest.approx(22 / 28)


def test_a_repeated_5gram_counts_from_its_second_occurrence_and_each_character_once():
    text = "a b c d e f x a b c d e f"
    found = measured(text)
    assert found.duplicate_5gram_share == pytest.approx(6 / 13)
    assert found.duplicate_6gram_share == pytest.approx(6 / 13)
    assert found.duplicate_7gram_share == 0


def test_what_is_said_once_is_not_repeated():
    assert set(astuple(measured("every word here is different"))) == {0.0}


@given(st.text())
def test_shares_are_shares_whatever_the_text(text):
    assert all(0 <= value <= 1 for value in astuple(measured(text)))
    assert compression_ratio(text) > 0


@given(st.lists(st.sampled_from("ab"), max_size=60))
def test_a_longer_ngram_is_never_repeated_more_than_a_shorter_one(words):
    found = astuple(measured(" ".join(words)))[5:]
    assert list(found) == sorted(found, reverse=True)


def test_a_loop_compresses_better_than_prose():
    assert compression_ratio(PROSE) < 2.5 < compression_ratio("The tide is noted. " * 40)
