"""Words and n-grams: what is one, and which of them two texts share."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from synth_assets.core.measures.words import Words, covered_words

words_of_few = st.lists(st.sampled_from("abcd"), max_size=40)


def test_words_ignore_case_and_punctuation():
    assert Words.of("The Mill, the mill!").words == ["the", "mill", "the", "mill"]


def test_each_character_of_a_script_without_spaces_is_a_word():
    assert Words.of("水車 turns").words == ["水", "車", "turns"]


@given(words_of_few, st.integers(1, 12))
def test_two_ngrams_have_one_hash_exactly_where_their_words_are_the_same(words, n):
    grams = Words.of(" ".join(words)).grams(n)
    written = [tuple(words[start : start + n]) for start in range(len(words) - n + 1)]
    assert grams.size == len(written)
    for one, other in zip(range(len(written)), reversed(range(len(written))), strict=True):
        assert (grams[one] == grams[other]) == (written[one] == written[other])


@given(words_of_few, words_of_few, st.integers(1, 6))
def test_an_ngram_is_marked_where_the_other_text_has_it(source, text, n):
    known = {tuple(source[start : start + n]) for start in range(len(source) - n + 1)}
    expected = [tuple(text[start : start + n]) in known for start in range(len(text) - n + 1)]
    assert Words.of(" ".join(source)).marks_of(Words.of(" ".join(text)), n).tolist() == expected


def test_a_word_is_covered_by_any_marked_ngram_that_it_is_part_of():
    marks = np.array([True, False, False, True])
    assert covered_words(marks, 3).tolist() == [True, True, True, True, True, True]
    assert covered_words(np.array([False, True, False]), 2).tolist() == [False, True, True, False]
