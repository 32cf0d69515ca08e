"""Rows of metrics.source_support: one for each rephrased text, and none is scored twice."""

from __future__ import annotations

import pyarrow as pa
import pytest

from resources.lake import Lake, Replacement
from synth_assets.assets.keys import ASKED_FOR_BY_NAME, SOURCE_SUPPORT
from synth_assets.assets.source_support import _rows
from synth_assets.core.quality_tables import SOURCE_SUPPORT as TABLE
from synth_assets.core.source_support import SentenceSupport, SourceSupport
from synth_assets.core.tables import MERGED_DOCUMENTS

SOURCE = "Frost came in May. The river rose."


class CountingReference:
    """Counts the pairs that it is given; half of a text's bits are in its source, of a long one there is no figure."""

    class model:  # noqa: N801 - stands for an attribute
        name = "counting"

    def __init__(self) -> None:
        self.pairs = []

    def identity(self) -> str:
        return "counting-1"

    def source_supports(self, pairs):
        for pair in pairs:
            self.pairs.append((pair.source, pair.text))
            sentence = SentenceSupport(pair.text, 9, 8.0, 4.0)
            yield None if len(pair.text) > 30 else SourceSupport((sentence,), len(pair.text))


def segment(begin: int, end: int, start: int, stop: int) -> dict[str, object]:
    return {"segment_index": 0, "source_start": begin, "source_end": end, "text_start": start, "text_end": stop,
            "request_key": "k"}  # fmt: skip


def merged(strategy: str, text: str, segments: list[dict[str, object]] | None) -> dict[str, object]:
    return {
        "merged_id": f"m-{strategy}", "document_id": "0a", "curator_file": "a", "strategy": strategy, "title": "",
        "text": text, "token_count": 1, "char_count": len(text), "segments": segments,
    }  # fmt: skip


@pytest.fixture
def lake(tmp_path) -> Lake:
    return Lake(f"sqlite:{tmp_path}/catalog.sqlite", str(tmp_path / "data"))


def write(lake: Lake, table, rows) -> None:
    lake.replace([Replacement(table.name, pa.Table.from_pylist(rows, schema=table.schema), None)])


def test_each_text_is_held_against_the_passages_it_was_made_of_and_scored_once(lake):
    listed = "It froze.\n\nWater rose."
    # The questions of a text that stands behind its passage are the model's part, the passage is not.
    behind = SOURCE + "\n\nWhat rose?"
    documents = [
        merged("original", SOURCE, None),
        merged("distill", listed, [segment(0, 18, 0, 9), segment(19, 34, 11, 22)]),
        merged("diverse_qa", behind, [segment(0, 34, len(SOURCE) + 2, len(behind))]),
        merged("wiki_rephrase", "x" * 31, [segment(0, 34, 0, 31)]),
    ]
    write(lake, MERGED_DOCUMENTS, documents)
    reference = CountingReference()
    rows = {row["strategy"]: row for row in _rows(lake, reference, "a")}
    assert set(rows) == {"distill", "diverse_qa", "wiki_rephrase"}
    assert set(reference.pairs) == {
        ("Frost came in May.", "It froze."), ("The river rose.", "Water rose."), (SOURCE, "What rose?"),
        (SOURCE, "x" * 31),
    }  # fmt: skip
    assert rows["distill"]["explained_share"] == rows["distill"]["least_explained_share"] == 0.5
    assert rows["distill"]["segment_count"] == rows["distill"]["scored_segment_count"] == 2
    assert (rows["wiki_rephrase"]["explained_share"], rows["wiki_rephrase"]["scored_segment_count"]) == (None, 0)
    assert set(rows["distill"]) == set(TABLE.schema.names)

    write(lake, TABLE, list(rows.values()))
    again = CountingReference()
    assert {row["strategy"]: row for row in _rows(lake, again, "a")} == rows
    assert again.pairs == []

    documents[1] = merged("distill", "It froze!\n\nWater rose.", documents[1]["segments"])
    write(lake, MERGED_DOCUMENTS, documents)
    list(_rows(lake, again, "a"))
    assert again.pairs == [("Frost came in May.", "It froze!"), ("The river rose.", "Water rose.")]


def test_it_is_made_only_when_it_is_asked_for_by_name():
    assert SOURCE_SUPPORT in ASKED_FOR_BY_NAME
