"""Numbers, dates, quantities and names: found, normalised, kept and invented."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth_assets.core.measures.facts import Facts, KeptFacts, facts_of, kept_facts
from synth_assets.core.measures.words import Words

SOURCE = (
    "The observatory on Mount Orrel was opened on 12 March 1907 by the astronomer Ada Lindqvist. Its mirror weighs "
    "1,234 kg and is 2.5 metres wide. It cost $40,000, or 15% of what the town of Varby earned."
)


def read(text: str) -> Facts:
    return facts_of(text, frozenset(Words.of(text).words))


def compared(source: str, text: str) -> KeptFacts:
    return kept_facts(read(source), read(text))


@pytest.mark.parametrize(
    ("written", "number"),
    [
        ("1,234", "1234"), ("1234", "1234"), ("1,234,567.50", "1234567.5"), ("2.50", "2.5"), ("2,5", "2.5"),
        ("007", "7"), ("0", "0"), ("1.2.3", "1.2.3"), ("1\u00a0234", "1234"), ("100", "100"), ("3.0", "3"),
    ],
)  # fmt: skip
def test_a_number_has_one_spelling(written, number):
    assert read(f"There were {written} of them.").numbers.numbers == {number}


def test_a_number_within_a_word_and_the_marker_of_a_list_are_none():
    assert read("1. The vitamin B12 helps.\n2) So does CO2.").numbers.numbers == set()


@pytest.mark.parametrize(
    ("text", "quantity"),
    [
        ("5%", "5 %"), ("5 per cent", "5 %"), ("12 kilometres", "12 km"), ("12km", "12 km"), ("$40", "40 $"),
        ("3 million", "3 million"), ("a 7-year wait", "7 year"), ("7 years", "7 year"), ("20 °C", "20 °C"),
    ],
)  # fmt: skip
def test_a_quantity_is_a_number_with_its_unit_in_one_spelling(text, quantity):
    assert read(f"It was {text}.").numbers.quantities == {quantity}


@pytest.mark.parametrize(
    ("text", "dates"),
    [
        ("on 12 March 1907", {"1907-3-12", "1907"}),
        ("on March 12, 1907", {"1907-3-12", "1907"}),
        ("on the 12th of March, 1907", {"1907-3-12", "1907"}),
        ("on 1907-03-12", {"1907-3-12", "1907"}),
        ("in Mar. 1907", {"1907-3-", "1907"}),
        ("in the 1990s", {"1990"}),
        ("it may 12 times", set()),
        ("1500 metres", set()),
    ],
)
def test_dates_are_the_same_in_every_order(text, dates):
    assert read(f"It was {text}.").numbers.dates == dates


def test_names_are_capitalised_words_that_begin_no_sentence():
    assert read(SOURCE).names == {"mount", "orrel", "march", "ada", "lindqvist", "varby"}
    assert read('Mills turn. "Water flows." Stones grind.\nCorn falls.').names == set()


def test_what_is_said_again_is_kept():
    found = compared(
        SOURCE,
        "Ada Lindqvist opened the observatory of Varby, high on Mount Orrel, on March 12, 1907. The mirror has 1234 "
        "kilograms and a width of 2.50 m; 15 percent of the town's income, 40 000 or $40,000, were spent.",
    )
    assert found.kept_number_share == found.kept_date_share == found.kept_quantity_share == found.kept_name_share == 1


def test_a_swapped_number_is_lost_and_invented():
    found = compared(SOURCE, SOURCE.replace("1,234", "1,324"))
    assert found.kept_number_share == pytest.approx(5 / 6)
    assert found.kept_quantity_share == pytest.approx(3 / 4)
    assert found.invented_number_count == 1


def test_a_name_that_the_source_has_not_is_invented():
    found = compared(SOURCE, SOURCE.replace("Ada Lindqvist", "Erik Lindqvist"))
    assert found.invented_name_count == 1
    assert found.kept_name_share == pytest.approx(5 / 6)


def test_a_name_that_the_source_has_in_small_letters_is_not_invented():
    assert compared("The old mill stands by the river.", "See the Mill by the River there.").invented_name_count == 0


def test_a_number_that_is_spelled_is_kept_and_not_invented():
    assert compared("Nine villages use 12 mills.", "The 9 villages have twelve mills.").invented_number_count == 0
    assert compared("Nine villages use 12 mills.", "The 9 villages have twelve mills.").kept_number_share == 1


def test_a_source_without_facts_has_no_shares():
    found = compared("The mill turns.", "The mill turns.")
    assert (found.kept_number_share, found.kept_date_share, found.kept_name_share) == (None, None, None)


@given(st.text() | st.text(alphabet="ABab12., -:\n"))
def test_a_text_keeps_all_of_itself_and_invents_nothing(text):
    found = compared(text, text)
    shares = {found.kept_number_share, found.kept_date_share, found.kept_quantity_share, found.kept_name_share}
    assert shares <= {None, 1.0}
    assert (found.invented_number_count, found.invented_name_count) == (0, 0)
