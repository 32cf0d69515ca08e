"""Texts put after the passages that they are made of."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from synth_assets.core.passages import BETWEEN, after_passages, model_part
from synth_assets.core.screening import Rejection, first_rejection
from synth_assets.strategies import discover

words = st.text("abc .\n", min_size=1, max_size=30)


def row_of(pairs: list[tuple[str, str]], separator: str) -> tuple[dict, str]:
    """A row made of (passage, text) pairs, and its source."""
    spans, source, text = [], "", ""
    for passage, made in pairs:
        text += separator if spans else ""
        spans.append({"source_start": len(source), "source_end": len(source) + len(passage),
                      "text_start": len(text), "text_end": len(text) + len(made), "request_key": made})  # fmt: skip
        source += passage
        text += made
    return {"document_id": "d1", "text": text, "segments": spans}, source


@given(st.lists(st.tuples(words, words), min_size=1, max_size=5), st.sampled_from(["\n\n", "\n"]))
def test_each_text_follows_its_passage_and_the_ranges_still_cover_the_models_part_only(pairs, separator):
    row, source = row_of(pairs, separator)
    joined = after_passages(row, source, separator)
    assert joined["text"] == separator.join(passage.strip() + BETWEEN + made for passage, made in pairs)
    assert [joined["text"][span["text_start"] : span["text_end"]] for span in joined["segments"]] == [
        made for _, made in pairs
    ]
    assert [source[span["source_start"] : span["source_end"]] for span in joined["segments"]] == [
        passage for passage, _ in pairs
    ]


@given(st.lists(st.tuples(words, words.filter(str.strip)), min_size=1, max_size=5))
def test_the_models_part_is_what_it_wrote_with_or_without_passages(pairs):
    row, source = row_of(pairs, BETWEEN)
    joined = after_passages(row, source, BETWEEN)
    for stored in (row, joined):
        starts = [span["text_start"] for span in stored["segments"]]
        assert model_part(stored["text"], starts, [span["text_end"] for span in stored["segments"]]) == row["text"]
    assert model_part("An original.", [], []) == "An original."


def test_only_what_makes_sense_after_its_passage_is_put_there():
    placed = {strategy.name: strategy.after_source().is_after_source for strategy in discover()}
    assert placed == {name: name == "diverse_qa" for name in placed}


def test_the_first_screen_that_rejects_is_heard():
    early, late = Rejection("a", "low_quality", "early"), Rejection("b", "contaminated", "late")
    screens = [lambda source, text: None, lambda source, text: early, lambda source, text: late]
    assert first_rejection(screens, "source", "text") == early
    assert first_rejection(screens[:1], "source", "text") is None
