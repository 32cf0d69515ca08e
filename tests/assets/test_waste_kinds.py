"""Which bought answers are waste, and why: told from small tables, each answer in one kind at most.

All cases lie in one lake, each with documents, keys and a model of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from resources.failed_calls import FAILURES, FAILURES_SCHEMA
from resources.lake import Lake
from resources.ledger import COMPLETIONS, COMPLETIONS_SCHEMA
from synth_assets.assets.waste_kinds import wasted_calls
from synth_assets.core.quality_tables import NEAR_DUPLICATES
from synth_assets.core.tables import CURATED_DOCUMENTS, DROPS, JUDGE_SCORES, MERGED_DOCUMENTS, rephrased
from synth_assets.core.waste import WastedCalls

STRATEGIES = ["distill", "diverse_qa"]
START = datetime(2026, 5, 1, tzinfo=UTC)
SPECS = [MERGED_DOCUMENTS, NEAR_DUPLICATES, JUDGE_SCORES, DROPS, CURATED_DOCUMENTS, rephrased("distill")]
SCHEMAS = {COMPLETIONS: COMPLETIONS_SCHEMA, FAILURES: FAILURES_SCHEMA, **{spec.name: spec.schema for spec in SPECS}}

Row = tuple[str, dict[str, Any]]


def answer(key: str, document: str = "d1", strategy: str = "distill", segment: int = 0, **more: Any) -> Row:
    """One bought answer; `minute` is when."""
    created_at = START + timedelta(minutes=more.pop("minute", 0))
    return COMPLETIONS, {
        "request_key": key, "strategy": strategy, "document_id": document, "segment_index": segment,
        "prompt_tokens": 100, "cached_prompt_tokens": 30, "completion_tokens": 50, "finish_reason": "stop",
        "created_at": created_at, **more,
    }  # fmt: skip


def seed(document: str = "d1") -> Row:
    return CURATED_DOCUMENTS.name, {"document_id": document, "is_candidate": True, "is_duplicate": False}


def text(*keys: str, document: str = "d1", strategy: str = "distill") -> Row:
    segments = [{"segment_index": place, "request_key": key} for place, key in enumerate(keys)]
    merged_id = f"{strategy} {document}"
    return MERGED_DOCUMENTS.name, {
        "merged_id": merged_id, "document_id": document, "strategy": strategy, "segments": segments
    }  # fmt: skip


def copy(merged_id: str) -> Row:
    return NEAR_DUPLICATES.name, {"merged_id": merged_id}


def drop(reason: str, document: str = "d1", strategy: str = "distill", stage: str = "post_processing") -> Row:
    return DROPS.name, {"document_id": document, "strategy": strategy, "stage": stage, "reason": reason}


def scores(*keys: str, document: str = "d1") -> Row:
    return JUDGE_SCORES.name, {"document_id": document, "request_keys": list(keys)}


def failure(error_kind: str) -> Row:
    return FAILURES, {"strategy": "distill", "error_kind": error_kind, "estimated_prompt_tokens": 200}


SHORTENED: Row = (rephrased("distill").name, {"document_id": "d1", "segment_count": 3, "dropped_segment_count": 2})

# What the tables hold, and how many answers are waste, by strategy, kind and reason.
CASES: dict[str, tuple[list[Row], dict[tuple[str, str, str], int]]] = {
    "an answer behind a text is no waste": (
        [seed(), answer("a"), answer("b", segment=1), text("a", "b")], {}
    ),
    "one that was cut is, although its text stays": (
        [seed(), answer("a", finish_reason="length"), answer("b", segment=1), text("a", "b")],
        {("distill", "cut", "length"): 1},
    ),
    "answers of a dropped document have the reason of the drop": (
        [seed(), answer("a", finish_reason="length"), answer("b", segment=1), drop("truncated"),
         seed("d2"), answer("c", "d2"), drop("contaminated", "d2", stage="decontamination")],
        {("distill", "dropped", "truncated"): 2, ("distill", "dropped", "contaminated"): 1},
    ),
    "of those the older ones are superseded": (
        [seed(), answer("old"), answer("new", minute=5), drop("too_short")],
        {("distill", "dropped", "too_short"): 1, ("distill", "superseded", "replaced"): 1},
    ),
    "a text left out as a copy wastes its answers": (
        [seed(), answer("a", finish_reason="length"), text("a"), copy("distill d1"),
         drop("near_duplicate", strategy="mix", stage="near_duplicate"),
         seed("d2"), answer("b", "d2"), text("b", document="d2")],
        {("distill", "dropped", "near_duplicate"): 1},
    ),
    "an answer that a kept text shares with a copy is no waste": (
        [seed(), seed("d2"), answer("a"), text("a"), text("a", document="d2"), copy("distill d1")], {}
    ),
    "what a later answer replaced is superseded": (
        [seed(), answer("first"), answer("second", minute=5), text("second")],
        {("distill", "superseded", "replaced"): 1},
    ),
    "so are answers of a document or a strategy that is gone": (
        [seed(), answer("a", "deleted"), answer("b", strategy="haiku")],
        {("distill", "superseded", "document_gone"): 1, ("haiku", "superseded", "strategy_gone"): 1},
    ),
    "so is a second purchase of the same answer": (
        [seed(), answer("a"), answer("a", minute=1), text("a")], {("distill", "superseded", "bought_twice"): 1}
    ),
    "and an answer of a document that is too short by now": (
        [seed(), answer("a"), drop("too_short", stage="segmentation")], {("distill", "superseded", "replaced"): 1}
    ),
    "answers that no table was made of yet are no waste": (
        [seed(), answer("a"), answer("b", strategy="judge")], {}
    ),
    "a segment that its text goes without is dropped": (
        [seed(), text("a"), SHORTENED, answer("a"), answer("b", segment=1, finish_reason="length"),
         answer("c", segment=2), answer("of a longer document once", segment=3)],
        {("distill", "dropped", "truncated"): 1, ("distill", "dropped", "unusable_segment"): 1,
         ("distill", "superseded", "replaced"): 1},
    ),
    "judgements are told apart by the scores that rest on them": (
        [seed(), scores("used"), answer("used", strategy="judge"), answer("old", strategy="judge", minute=-5),
         seed("d2"), answer("unreadable", "d2", "judge"), drop("invalid_schema", "d2", "judge", "judging"),
         seed("d3"), answer("not yet", "d3", "judge")],
        {("judge", "superseded", "replaced"): 1, ("judge", "dropped", "invalid_schema"): 1},
    ),
    "failed calls are listed by what went wrong": (
        [failure("timeout"), failure("timeout"), failure("unreachable")],
        {("distill", "failed", "timeout"): 2, ("distill", "failed", "unreachable"): 1},
    ),
}  # fmt: skip


def placed(case: str, row: dict[str, Any]) -> dict[str, Any]:
    """The row with names of its own for this case, so that cases do not touch each other."""
    own: dict[str, Any] = {
        name: f"{case}: {row[name]}" for name in ("request_key", "document_id", "merged_id") if name in row
    }
    if "request_keys" in row:
        own["request_keys"] = [f"{case}: {key}" for key in row["request_keys"]]
    if "segments" in row:
        own["segments"] = [{**each, "request_key": f"{case}: {each['request_key']}"} for each in row["segments"]]
    return {**row, "model": case, **own}


@pytest.fixture(scope="module")
def wasted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[WastedCalls]]:
    folder = tmp_path_factory.mktemp("waste")
    lake = Lake(f"sqlite:{folder}/catalog.sqlite", str(folder / "data"))
    for table, schema in SCHEMAS.items():
        rows = [placed(case, row) for case, (given, _) in CASES.items() for name, row in given if name == table]
        columns = [{name: row.get(name) for name in schema.names} for row in rows]
        lake.append(table, pa.Table.from_pylist(columns, schema=schema))
    yield wasted_calls(lake, STRATEGIES)
    lake.close()


@pytest.mark.parametrize("case", CASES)
def test_waste_is_told_from_what_rests_on_an_answer(case: str, wasted: list[WastedCalls]) -> None:
    found = {(calls.strategy, calls.kind, calls.reason): calls.requests for calls in wasted if calls.model == case}
    assert found == CASES[case][1]


def test_tokens_are_those_of_the_answers(wasted: list[WastedCalls]) -> None:
    case = "answers of a dropped document have the reason of the drop"
    (calls,) = (calls for calls in wasted if calls.model == case and calls.reason == "truncated")
    assert (calls.prompt_tokens, calls.cached_prompt_tokens, calls.completion_tokens) == (200, 60, 100)


def test_failed_calls_are_billed_for_prompts_that_the_server_has_read(wasted: list[WastedCalls]) -> None:
    prompts = {calls.reason: calls.prompt_tokens for calls in wasted if calls.kind == "failed"}
    assert prompts == {"timeout": 400, "unreachable": 0}


def test_without_tables_there_is_no_waste_and_without_those_above_the_ledger_there_is_only_the_superseded(
    tmp_path: Path,
) -> None:
    lake = Lake(f"sqlite:{tmp_path}/catalog.sqlite", str(tmp_path / "data"))
    assert wasted_calls(lake, STRATEGIES) == []
    rows = [{**answer("a")[1], "model": "m"}]
    lake.append(COMPLETIONS, pa.Table.from_pylist(rows, schema=COMPLETIONS_SCHEMA))
    (calls,) = wasted_calls(lake, STRATEGIES)
    assert (calls.kind, calls.reason) == ("superseded", "document_gone")
    lake.close()
