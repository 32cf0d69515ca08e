"""Each planting harms a text in its own way and in no other, and the same each time."""

from __future__ import annotations

import random
import re
from collections import Counter

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from synth_assets.core.planted_faults import (
    FAULT_KINDS,
    FILLERS,
    INVENTIONS,
    NAMES,
    dropped_paragraph,
    filler,
    invented_fact,
    shuffled_sentences,
    swapped_name,
    swapped_number,
)

SENTENCES = (
    "The bell of Ghent was cast in 1660.",
    "It weighs 6,050 kilograms, and Pieter Hemony tuned it to 0.5 hertz.",
    "In Bruges 47 others hang!",
    "Dr. Jef Denyn played there until 1941.",
    "Does anybody hear them?",
    "Nobody counted.",
)
PROSE = st.lists(
    st.lists(st.sampled_from(SENTENCES), min_size=1, max_size=4).map(" ".join), min_size=1, max_size=4
).map("\n\n".join)
TEXTS = PROSE | st.text(alphabet=st.sampled_from("aBé 1290.,!\n\u0660"), max_size=60)
SEEDS = st.integers(0, 10_000)


@pytest.mark.parametrize("kind", FAULT_KINDS)
@given(text=TEXTS, seed=SEEDS)
def test_a_harmed_text_is_another_one_and_the_same_one_each_time(kind, text, seed):
    plant = FAULT_KINDS[kind].plant
    harmed = plant(text, random.Random(seed))
    assert harmed != text
    assert harmed == plant(text, random.Random(seed))


@given(text=TEXTS, seed=SEEDS)
@example(text="7", seed=0)
def test_a_swapped_number_is_one_new_number_in_the_old_place(text, seed):
    harmed = swapped_number(text, random.Random(seed))
    assume(harmed is not None)
    assert re.sub(r"[0-9]", "#", harmed) == re.sub(r"[0-9]", "#", text)
    before, after = (re.findall(r"[0-9]+(?:[.,][0-9]+)*", each) for each in (text, harmed))
    changed = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    assert len(changed) == 1
    assert changed[0][1] not in before


@given(text=TEXTS, seed=SEEDS)
def test_a_dropped_paragraph_is_all_that_is_missing(text, seed):
    harmed = dropped_paragraph(text, random.Random(seed))
    assume(harmed is not None)
    missing = Counter(text.split("\n\n")) - Counter(harmed.split("\n\n"))
    assert missing.total() == 1
    assert next(iter(missing)).strip()


@given(text=TEXTS, seed=SEEDS)
def test_without_its_invention_or_its_filler_the_text_is_as_it_was(text, seed):
    for plant, sentences in ((invented_fact, INVENTIONS), (filler, FILLERS)):
        harmed = plant(text, random.Random(seed))
        if harmed is not None:
            for sentence in sentences:
                harmed = harmed.replace(f" {sentence}", "")
            assert harmed == text


@given(text=PROSE, seed=SEEDS)
def test_shuffled_sentences_are_the_same_sentences_in_as_many_paragraphs(text, seed):
    harmed = shuffled_sentences(text, random.Random(seed))
    assume(harmed is not None)
    found = [[harmed.count(sentence), text.count(sentence)] for sentence in SENTENCES]
    assert all(after == before for after, before in found)
    assert Counter(harmed.split()) == Counter(text.split())
    assert harmed.count("\n\n") == text.count("\n\n")


@given(text=PROSE, seed=SEEDS)
def test_a_swapped_name_can_be_swapped_back(text, seed):
    harmed = swapped_name(text, random.Random(seed))
    assume(harmed is not None)
    new = [name for name in NAMES if name in harmed]
    assert len(new) == 1
    assert any(harmed.replace(new[0], old) == text for old in ("Ghent", "Pieter", "Hemony", "Bruges", "Jef", "Denyn"))


def test_a_text_without_a_hold_is_left_alone():
    for kind, text in {
        "swapped_number": "No figure here.",
        "dropped_paragraph": "One paragraph.",
        "invented_fact": "no sentence",
        "shuffled_sentences": "One. Two. Three.",
        "filler": "no sentence",
        "swapped_name": "Nobody is named, The End.".replace("End", "end").replace("The", "the"),
    }.items():
        assert FAULT_KINDS[kind].plant(text, random.Random(1)) is None, kind
