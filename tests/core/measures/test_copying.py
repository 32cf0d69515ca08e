"""Copied and new wording of a text against its source."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth_assets.core.measures.copying import Copying, copying
from synth_assets.core.measures.words import Words

words_of_few = st.lists(st.sampled_from("abc"), max_size=30)


def compared(source: str, text: str) -> Copying:
    return copying(Words.of(source), Words.of(text))


def longest_common_run(source: list[str], text: list[str]) -> int:
    longest = 0
    for start in range(len(text)):
        for at in range(len(source)):
            size = 0
            while start + size < len(text) and at + size < len(source) and text[start + size] == source[at + size]:
                size += 1
            longest = max(longest, size)
    return longest


@given(words_of_few, words_of_few)
def test_the_longest_copied_run_is_the_longest_common_run_of_words(source, text):
    assert compared(" ".join(source), " ".join(text)).longest_copied_run_words == longest_common_run(source, text)


@given(st.text())
def test_a_text_is_no_news_to_itself(text):
    found = compared(text, text)
    assert found.novel_4gram_share in (None, 0)
    assert found.longest_copied_run_words == len(Words.of(text))


def test_words_count_as_copied_in_runs_of_eight_and_more():
    source = "one two three four five six seven eight nine ten"
    found = compared(source, f"before {source} after all that was said there")
    assert found.copied_share == pytest.approx(10 / 17)
    assert compared(source, "one two three four five six seven").copied_share == 0


def test_case_and_punctuation_make_no_wording_new():
    found = compared("The mill grinds corn for nine villages.", "the mill, grinds: corn - for NINE villages")
    assert found.novel_4gram_share == 0


def test_other_words_are_new():
    found = compared("The mill grinds corn for nine villages.", "Nine villages bring their corn to be ground.")
    assert found.novel_4gram_share == 1
    assert found.longest_copied_run_words == 2


def test_too_few_words_have_no_share():
    assert compared("a b c d", "a b").novel_4gram_share is None
    assert compared("a b c d", "").copied_share is None
