"""Marks in a text say what its source has not and what it copied, and change no character of it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from synth_assets.core.measures.words import Words
from synth_assets.reporting.differences import runs

SOURCE = "The river carries fine sediment toward the coast, where tides sort sand from clay."

words = st.lists(st.sampled_from(("river", "Delta", "sand", "tide", "7,5", "\u6cb3", "<b>", "\u0130st")), max_size=30)
texts = st.one_of(st.text(max_size=60), words.map(" ".join))


def kinds(text: str) -> list[tuple[str, str]]:
    return [(run.text, run.kind) for run in runs(SOURCE, text) if run.text.strip()]


def test_words_that_the_source_has_not_are_new_and_neighbours_are_one_mark() -> None:
    assert kinds("Sand meets heavy gravel.") == [("Sand", "other"), ("meets heavy gravel", "new"), (".", "other")]


def test_four_words_in_the_sources_order_are_copied_whatever_their_case_and_commas() -> None:
    assert kinds("FINE sediment, toward THE sea") == [("FINE sediment, toward THE", "copied"), ("sea", "new")]


def test_words_of_the_source_in_another_order_are_neither_new_nor_copied() -> None:
    assert {kind for _, kind in kinds("clay sand tides coast")} == {"other"}


def test_what_is_cut_off_was_compared_all_the_same() -> None:
    text = "sediment toward the coast"
    assert [(run.text, run.kind) for run in runs(SOURCE, text, 12)] == [("sediment tow", "copied")]
    assert runs(SOURCE, text, 0) == []


@given(source=texts, text=texts)
def test_runs_put_together_are_the_text(source: str, text: str) -> None:
    assert "".join(run.text for run in runs(source, text)) == text


@given(text=texts)
def test_a_text_has_nothing_new_against_itself(text: str) -> None:
    assert "new" not in {run.kind for run in runs(text, text)}


@given(source=texts, text=texts)
def test_new_runs_are_words_that_the_source_has_not(source: str, text: str) -> None:
    known = set(Words.of(source).words)
    for run in runs(source, text):
        if run.kind == "new":
            assert not known & set(Words.of(run.text).words)


@given(source=texts, text=texts, limit=st.integers(0, 80))
def test_no_more_than_the_limit_is_shown(source: str, text: str, limit: int) -> None:
    assert "".join(run.text for run in runs(source, text, limit)) == text[:limit]
