"""Words of a text: what makes no difference, and the way back to the characters."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from synth_assets.core.words import span, words


def test_case_punctuation_and_white_space_make_no_difference():
    assert words("The KEEPER'S log,\n\n(1902): 37 entries.") == words("the keeper s log 1902 – 37\tentries")


def test_composed_and_decomposed_accents_are_the_same():
    assert words("Caf\u00e9 Stra\u00dfe") == words("Cafe\u0301 STRASSE") == ["café", "strasse"]


@given(st.text())
def test_each_word_is_found_again_where_it_stands(text):
    found = words(text)
    assert [words(span(text, place, 1)) for place in range(len(found))] == [[word] for word in found]


@given(st.text(), st.integers(0, 5), st.integers(0, 5))
def test_a_span_reaches_from_its_first_word_to_its_last(text, first, count):
    assert words(span(text, first, count)) == words(text)[first : first + count]
