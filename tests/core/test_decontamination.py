"""Runs of words that a text shares with evaluation sets: what is found, what is not, and what is said about it."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth_assets.core import decontamination
from synth_assets.core.decontamination import MIN_ITEM_WORDS, EvaluationIndex
from synth_assets.core.words import words

ITEM = (
    "A train leaves the station at noon and travels east at sixty miles per hour. How far has it come when the clock "
    "of the town hall strikes three in the afternoon?"
)
PROSE = "The keepers of the lighthouse wrote down every storm that they saw from its gallery."


def index(*items: str, ngram: int = 13, name: str = "exams/trains") -> EvaluationIndex:
    return EvaluationIndex([(name, item) for item in items], ngram)


def test_a_run_of_13_words_is_found_whatever_stands_around_it():
    quoted = " ".join(ITEM.split()[3:16])
    hit = index(PROSE * 3, ITEM).find(f"{PROSE[:30]} {quoted} and then it stopped.")
    assert hit is not None
    assert (hit.set_name, hit.word_count) == ("exams/trains", 13)


def test_12_words_in_common_are_none_of_13_and_enough_for_8():
    text = f"{PROSE} {' '.join(ITEM.split()[3:15])}, it is said."
    assert index(ITEM).find(text) is None
    assert index(ITEM, ngram=8).find(text) is not None


def test_case_punctuation_and_line_breaks_hide_nothing():
    assert index(ITEM).find(ITEM.upper().replace(" ", "\n").replace(".", " – ")) is not None


def test_the_reason_names_the_set_and_quotes_the_document():
    text = f"{PROSE} A TRAIN leaves the station, at noon; and travels east at sixty miles per hour! {PROSE}"
    rejection = index(ITEM).reject("", text)
    assert rejection is not None
    assert (rejection.stage, rejection.reason) == ("decontamination", "contaminated")
    quoted = "A TRAIN leaves the station, at noon; and travels east at sixty miles per hour"
    assert rejection.detail == f"exams/trains: {quoted}"


def test_a_long_span_is_cut_to_200_characters():
    long = " ".join(f"word{number}" for number in range(200))
    rejection = index(long).reject("", long)
    assert rejection is not None
    assert rejection.detail == f"exams/trains: {long[:200]}"


def test_an_item_of_8_to_12_words_counts_as_a_whole():
    item = "Which metal is liquid at room temperature and pressure?"
    assert len(words(item)) == 9
    assert index(item).find(f"{PROSE} {item} {PROSE}") is not None
    assert index(item).find(f"{PROSE} Which metal is liquid at room temperature and heat?") is None


def test_an_item_of_fewer_than_8_words_counts_for_nothing():
    item = "What is the capital of France?"
    assert len(words(item)) < MIN_ITEM_WORDS
    assert index(item).find(item) is None
    assert index(item).run_count == 0


def test_the_set_that_holds_the_run_is_named():
    made = EvaluationIndex([("first", PROSE), ("first", PROSE + " more"), ("second", ITEM), ("third", PROSE[::-1])], 13)
    hit = made.find(ITEM)
    assert hit is not None
    assert hit.set_name == "second"


def test_runs_do_not_reach_from_one_item_into_the_next():
    halves = [" ".join(ITEM.split()[:15]), " ".join(ITEM.split()[15:])]
    assert index(*halves).find(" ".join(ITEM.split()[8:22])) is None


def test_an_equal_hash_of_another_text_drops_nothing(monkeypatch):
    def few_hashes(sums, length):
        return np.zeros(max(len(sums) - length, 0), dtype=np.uint64)

    monkeypatch.setattr(decontamination, "gram_hashes", few_hashes)
    assert index(ITEM).find(PROSE * 5) is None


def test_without_sets_nothing_is_found():
    assert EvaluationIndex([], 13).find(ITEM) is None
    assert index(ITEM).find("") is None


WORDS = st.lists(st.sampled_from(["a", "b", "c", "ß", "é", "42"]), max_size=40).map(" ".join)


@given(st.lists(WORDS, max_size=4), WORDS, st.integers(8, 13))
def test_exactly_the_texts_that_share_a_run_are_found(items, text, ngram):
    def runs(of: list[str], length: int) -> set[tuple[str, ...]]:
        return {tuple(of[place : place + length]) for place in range(len(of) - length + 1)}

    asked = words(text)
    expected = any(
        runs(item, min(len(item), ngram)) & runs(asked, min(len(item), ngram))
        for item in map(words, items)
        if len(item) >= MIN_ITEM_WORDS
    )
    hit = index(*items, ngram=ngram).find(text)
    assert (hit is not None) == expected
    if hit is not None:
        run = asked[hit.first_word : hit.first_word + hit.word_count]
        assert any(tuple(run) in runs(words(item), len(run)) for item in items)


@pytest.mark.parametrize("place", [0, 5_000, 99_000])
def test_a_run_is_found_anywhere_in_a_very_long_text(place):
    rng = random.Random(place)
    text = [f"w{rng.randrange(1000)}" for _ in range(100_000)]
    text[place : place + 14] = ITEM.split()[:14]
    hit = index(ITEM).find(" ".join(text))
    assert hit is not None
    assert hit.first_word == place
