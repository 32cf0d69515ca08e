"""A failed blocking check stops what rests on its files, and nothing else: in one run, over runs, in a backfill."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import dagster as dg
import pytest
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_END_TAG, ASSET_PARTITION_RANGE_START_TAG
from pydantic import BaseModel

from synth_assets.assets.keys import CURATED, CURATOR_FILE, MERGED, PERPLEXITY
from synth_assets.assets.versions import Versions
from synth_assets.core.strategy import AnswerContext
from synth_assets.definitions import project_defs
from synth_assets.planning.stale import StalePlanner
from synth_assets.strategies import discover

QUIET: Any = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
STRUCTURED = next(strategy for strategy in discover() if strategy.wire_model is not None)
ASSET = f"rephrased.{STRUCTURED.name}"
KEY = dg.AssetKey(ASSET.split("."))
CHECK = f"{ASSET}: every_row_has_its_structure"


class Forgetful(BaseModel):
    """What the test strategy makes of an answer; it forgets the structure of station 2."""

    answer: str

    def model_dump(self, **options: Any) -> dict[str, Any]:
        return {**super().model_dump(**options), "is_whole": True}


def keep_all_but_station_2(wire: BaseModel) -> Any:
    text = wire.model_dump_json()
    return None if "Station 2 " in text else Forgetful(answer=text)


def keep_all(wire: BaseModel) -> Any:
    return Forgetful(answer=wire.model_dump_json())


def source_as_text(structured: Any, context: AnswerContext) -> str:
    return context.source


def first(answers: list[Any]) -> Any:
    return answers[0]


@pytest.fixture
def two_files(workplace, make_article):
    workplace.overrides["strategies"] = [strategy(keep_all_but_station_2)]
    workplace.write("a.jsonl", [make_article(1)])
    workplace.write("b.jsonl", [make_article(2)])
    return workplace


def strategy(to_structured: Any) -> Any:
    return replace(STRUCTURED, to_structured=to_structured, to_text=source_as_text, merge_structured=first)


def plan(workplace: Any) -> dict[tuple[str, str | None], dict[str, Any]]:
    """What is planned, by asset and partition."""
    project = workplace.project()
    graph = project_defs(project).resolve_asset_graph()
    planner = StalePlanner(graph, Versions(workplace.instance, graph, project.roots), project.lake)
    return {(".".join(item.asset.path), item.partition): item.as_dict() for item in planner.everything()}


def done(summary: Any) -> set[tuple[str, str | None]]:
    return {(".".join(key.path), partition) for key, partition in summary.materialized}


def merged_files(workplace: Any) -> list[str]:
    return [row["f"] for row in workplace.rows("SELECT DISTINCT curator_file f FROM merged.documents ORDER BY 1")]


def test_only_what_rests_on_the_file_that_fails_is_blocked_until_it_is_repaired(two_files):
    summary, _ = two_files.run()
    assert {(ASSET, "a.jsonl"), (ASSET, "b.jsonl"), ("merged.documents", "a.jsonl")} <= done(summary)
    assert ("metrics.perplexity", "a.jsonl") in done(summary)
    assert {partition for name, partition in done(summary) if name.startswith(("merged", "metrics"))} == {"a.jsonl"}
    assert {(".".join(item.asset.path), item.partition) for item in summary.blocked} >= {
        ("merged.documents", "b.jsonl"),
        ("metrics.perplexity", "b.jsonl"),
    }
    assert summary.failed == []
    assert summary.errors == [f"{CHECK} fails for b.jsonl: nothing was made from it. The next run checks it again."]
    assert merged_files(two_files) == ["a.jsonl"]

    item = plan(two_files)["merged.documents", "b.jsonl"]
    assert (item["reason"], item["blocked_by"]) == ("blocked", CHECK)
    again, project = two_files.run()
    assert (done(again), len(again.errors)) == (set(), 1)

    two_files.overrides["strategies"] = [strategy(keep_all)]
    summary, project = two_files.run()
    assert (summary.errors, summary.blocked) == ([], [])
    assert project.purchases.rephrase.report.requests_sent == 0
    assert merged_files(two_files) == ["a.jsonl", "b.jsonl"]


def test_a_backfill_stops_at_the_file_that_fails_and_names_the_check(two_files):
    result = launch(two_files, [CURATED, KEY, MERGED, PERPLEXITY])
    assert not result.success
    assert merged_files(two_files) == ["a.jsonl"]
    texts = [str(event.step_failure_data.user_failure_data) for event in result.all_events if event.is_step_failure]
    assert any(f"b.jsonl: It rests on {ASSET}, which fails the check every_row_has_its_structure" in t for t in texts)
    alone = launch(two_files, [MERGED], "b.jsonl")
    assert not alone.success
    assert merged_files(two_files) == ["a.jsonl"]


def test_rows_doubled_by_hand_block_their_file_and_no_longer_once_they_are_gone(two_files, make_article):
    two_files.overrides["strategies"] = [strategy(keep_all)]
    two_files.run()
    rows = two_files.lake.read("seed.curated_documents", where={"curator_file": "b.jsonl"})
    two_files.lake.append("seed.curated_documents", rows)
    two_files.write("a.jsonl", [make_article(3)])
    two_files.write("c.jsonl", [make_article(4)])
    summary, _ = two_files.run()
    assert {partition for name, partition in done(summary) if name == ASSET} == {"a.jsonl", "c.jsonl"}
    assert summary.errors == []

    two_files.overrides["strategies"] = [replace(strategy(keep_all), instructions="Ask questions.")]
    summary, _ = two_files.run()
    assert {partition for name, partition in done(summary) if name == ASSET} == {"a.jsonl", "c.jsonl"}
    assert "seed.curated_documents: rows_are_unique fails for b.jsonl" in summary.errors[0]

    two_files.lake.delete("seed.curated_documents", {"curator_file": "b.jsonl"})
    two_files.lake.append("seed.curated_documents", rows)
    summary, _ = two_files.run()
    assert summary.errors == []
    assert {partition for name, partition in done(summary) if name == ASSET} == {"b.jsonl"}


def launch(workplace: Any, assets: Sequence[dg.AssetKey], only: str = "") -> dg.ExecuteInProcessResult:
    """One run over the assets and both files, as Dagster's backfill daemon launches it."""
    project = workplace.project()
    workplace.instance.add_dynamic_partitions(str(CURATOR_FILE.name), ["a.jsonl", "b.jsonl"])
    job = project_defs(project).resolve_implicit_global_asset_job_def().get_subset(asset_selection=set(assets))
    tags = {ASSET_PARTITION_RANGE_START_TAG: only or "a.jsonl", ASSET_PARTITION_RANGE_END_TAG: only or "b.jsonl"}
    return job.execute_in_process(instance=workplace.instance, tags=tags, run_config=QUIET, raise_on_error=False)
