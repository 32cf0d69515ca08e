"""The graph of tables in the report: parents before children, rows counted, boxes apart."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from pathlib import Path

from resources.lake import Lake
from synth_assets.reporting.origin_data import Origin, in_order, levels, with_row_counts
from synth_assets.reporting.origin_picture import BOX_HEIGHT, BOX_WIDTH, origin_picture
from synth_assets.reporting.page import Surroundings, write_report

GRAPH = [
    Origin("merged.documents", ("rephrased.distill", "seed.curated_documents"), "e3" * 16, 3),
    Origin("rephrased.distill", ("seed.curated_documents", "serving.rephraser"), "9a" * 16, 3),
    Origin("curator.files", (), "4d" * 16, 3, is_root=True),
    Origin("seed.curated_documents", ("curator.files",), "77" * 16, 3),
    Origin("serving.rephraser", (), "<b>SmolLM2</b>@1", is_root=True),
    Origin("serving.baseline", ("serving.rephraser", "somewhere.else")),
]


def test_a_node_stands_behind_all_that_it_is_made_from() -> None:
    order = [origin.name for origin in in_order(GRAPH)]
    for origin in GRAPH:
        for parent in set(origin.parents) & set(order):
            assert order.index(parent) < order.index(origin.name)
            assert levels(GRAPH)[parent] < levels(GRAPH)[origin.name]


def test_rows_are_counted_where_there_is_a_table(make_lake: Callable[..., Lake], tmp_path: Path) -> None:
    lake = make_lake(tmp_path, documents=6)
    counts = {origin.name: origin.row_count for origin in with_row_counts(lake, GRAPH)}
    assert counts["seed.curated_documents"] == 6
    assert counts["serving.baseline"] == 4
    assert counts["curator.files"] is None


def test_boxes_do_not_overlap_and_stay_in_the_picture() -> None:
    picture = origin_picture(GRAPH)
    assert len(picture.boxes) == len(GRAPH)
    for one, other in combinations(picture.boxes, 2):
        assert abs(one.x - other.x) >= BOX_WIDTH or abs(one.y - other.y) >= BOX_HEIGHT
    for box in picture.boxes:
        assert 0 <= box.x <= picture.width - BOX_WIDTH
        assert 0 <= box.y <= picture.height - BOX_HEIGHT
    assert len(picture.lines) == 6, "a parent that is no node has no line"


def test_the_page_shows_versions_as_text_and_says_what_was_never_made(
    make_lake: Callable[..., Lake], tmp_path: Path
) -> None:
    html = write_report(make_lake(tmp_path), tmp_path, "4xH100-SXM", {}, Surroundings(GRAPH)).read_text()
    assert "<b>SmolLM2" not in html
    assert "never made" in html
    assert html.count("<path d=") == 6
