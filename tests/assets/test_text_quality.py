"""Measured texts and gated strategies in the graph: rows, drops, and what a failing gate stops."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from synth_assets.assets.accounts_check import LEAST_DOCUMENTS
from synth_assets.assets.check_outcomes import FAILED_FILES
from synth_assets.assets.quality_checks import drifts, figures_of
from synth_assets.core.gates import length_ratio
from synth_assets.definitions import project_defs
from synth_assets.strategies import by_name

DISTILL, REPHRASE = by_name("distill"), by_name("wiki_rephrase")


@pytest.fixture
def two_files(workplace: Any, make_article: Any) -> Any:
    workplace.environment["JUDGE_SHARE"] = "0"
    workplace.overrides["strategies"] = [DISTILL, REPHRASE]
    workplace.write("many.jsonl", [make_article(number) for number in range(LEAST_DOCUMENTS)])
    workplace.write("one.jsonl", [make_article(99)])
    workplace.run(has_measures=True)
    return workplace


def test_texts_are_measured_and_a_stricter_gate_drops_without_a_call_and_stops_the_file_it_empties(two_files):
    measured = two_files.rows("SELECT * FROM metrics.text_quality")
    merged = two_files.rows("SELECT merged_id, document_id, strategy, text FROM merged.documents")
    assert {row["merged_id"] for row in measured} == {row["merged_id"] for row in merged}
    assert len(measured) == len(merged)
    lengths = {row["merged_id"]: len(row["text"]) for row in merged}
    sources = {row["document_id"]: len(row["text"]) for row in merged if row["strategy"] == "original"}
    for row in measured:
        if row["strategy"] == "original":
            assert (row["length_ratio"], row["copied_share"], row["is_language_kept"]) == (None, None, None)
        else:
            assert row["length_ratio"] == pytest.approx(lengths[row["merged_id"]] / sources[row["document_id"]])
            assert row["copied_share"] > 0
        assert row["language"] == "en"
    assert_openings_are_counted(measured)
    before = figures_of(two_files.lake)
    assert before["distill"]["documents"] == LEAST_DOCUMENTS + 1

    two_files.overrides["strategies"] = [replace(DISTILL, gates=(length_ratio(50, 100),)), REPHRASE]
    _, project = two_files.run(has_measures=True)

    assert project.purchases.total().requests_sent == 0
    drops = two_files.rows("SELECT strategy, stage, reason, detail FROM ledger.drops WHERE strategy IS NOT NULL")
    assert {(row["strategy"], row["stage"], row["reason"]) for row in drops} == {("distill", "gates", "low_quality")}
    assert len(drops) == LEAST_DOCUMENTS + 1
    assert drops[0]["detail"].startswith("length_ratio: ")
    assert failed_files(two_files, project) == ["many.jsonl"]
    # The emptied file keeps what was merged of it before; the other one has gone on.
    kept = "SELECT curator_file AS f, count(*) AS n FROM merged.documents WHERE strategy = 'distill' GROUP BY 1"
    assert two_files.rows(kept) == [{"f": "many.jsonl", "n": LEAST_DOCUMENTS}]
    assert drifts(before, figures_of(two_files.lake)) == ["distill drop_share 0 -> 0.512"]


def assert_openings_are_counted(measured: list[dict[str, Any]]) -> None:
    for row in measured:
        fellows = [
            other
            for other in measured
            if (other["strategy"], other["curator_file"]) == (row["strategy"], row["curator_file"])
        ]
        alike = [other for other in fellows if other["opening"] == row["opening"]]
        assert row["opening_share"] == pytest.approx(len(alike) / len(fellows))
        assert len(row["opening"].split()) == 4
        assert row["opening"] == row["opening"].lower()


def failed_files(workplace: Any, project: Any) -> Any:
    graph = project_defs(project).resolve_asset_graph()
    [key] = [
        key
        for key in graph.asset_check_keys
        if key.name == "most_documents_survive" and key.asset_key.path[-1] == "distill"
    ]
    [record] = workplace.instance.event_log_storage.get_asset_check_execution_history(key, limit=1)
    return record.event.dagster_event.event_specific_data.metadata[FAILED_FILES].value


def figures(documents: int = 50, **changes: float | None) -> dict[str, dict[str, float | None]]:
    values: dict[str, float | None] = {"drop_share": 0.1, "length_ratio": 0.8, "novel_4gram_share": 0.6}
    return {"distill": {"documents": documents, **values, **changes}}


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({}, []),
        ({"length_ratio": 0.7}, []),
        ({"length_ratio": 0.4}, ["distill length_ratio 0.8 -> 0.4"]),
        ({"novel_4gram_share": 0.75}, ["distill novel_4gram_share 0.6 -> 0.75"]),
        ({"drop_share": 0.3, "novel_4gram_share": None}, ["distill drop_share 0.1 -> 0.3"]),
        ({"documents": 3, "drop_share": 0.9}, []),
    ],
)
def test_a_measure_drifts_when_it_changes_further_than_it_should_and_there_is_enough_to_tell(changes, found):
    assert drifts(figures(), figures(**changes)) == found


def test_a_new_strategy_has_nothing_to_drift_from():
    assert drifts({}, figures()) == []
