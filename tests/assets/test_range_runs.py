"""One run over several assets and files, as a backfill in the UI launches it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from itertools import pairwise
from typing import Any

import dagster as dg
import pytest
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_END_TAG, ASSET_PARTITION_RANGE_START_TAG

from resources.testing import Behaviour, Fault
from synth_assets.assets.keys import CURATED, CURATOR_FILE, MERGED, PERPLEXITY
from synth_assets.definitions import project_defs

DISTILL, WIKI, EXTRACT = (
    dg.AssetKey(["rephrased", name]) for name in ("distill", "wiki_rephrase", "knowledge_extract")
)
QUIET: Any = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@pytest.fixture
def backfill(workplace) -> Callable[..., dg.ExecuteInProcessResult]:
    """One run over the given assets and a range of files, as Dagster's backfill daemon launches it."""

    def launch(assets: Collection[dg.AssetKey], first: str, last: str) -> dg.ExecuteInProcessResult:
        project = workplace.project()
        here = sorted(str(name) for name in project.curator.versions())
        workplace.instance.add_dynamic_partitions(str(CURATOR_FILE.name), here)
        job = project_defs(project).resolve_implicit_global_asset_job_def().get_subset(asset_selection=set(assets))
        tags = {ASSET_PARTITION_RANGE_START_TAG: first, ASSET_PARTITION_RANGE_END_TAG: last}
        return job.execute_in_process(instance=workplace.instance, tags=tags, run_config=QUIET, raise_on_error=False)

    return launch


def files_of(workplace: Any, table: str) -> list[str]:
    return [row["f"] for row in workplace.rows(f"SELECT DISTINCT curator_file f FROM {table} ORDER BY 1")]


def failures(result: dg.ExecuteInProcessResult) -> dict[str, str]:
    """What each failed step says to its user."""
    found = {}
    for event in result.all_events:
        if event.is_step_failure:
            data = event.step_failure_data.user_failure_data
            found[event.step_key] = str(data.description if data else event.step_failure_data.error)
    return found


@pytest.fixture
def three_files(workplace, make_article):
    for number, name in enumerate(("a.jsonl", "b.jsonl", "c.jsonl")):
        workplace.write(name, [make_article(number)])
    return workplace


def test_a_failed_file_takes_no_other_down_and_the_next_run_does_only_that_one(three_files, backfill):
    three_files.server.behaviour = Behaviour(faults=(Fault("status", status=400, containing="Station 1 "),))
    result = backfill([CURATED, DISTILL, MERGED, PERPLEXITY], "a.jsonl", "c.jsonl")
    for table in ("merged.documents", "metrics.perplexity"):
        assert files_of(three_files, table) == ["a.jsonl", "c.jsonl"], table

    assert not result.success
    texts = failures(result)
    assert "b.jsonl: 1 calls for 1 documents have no answer (1 bad_request)" in texts.pop(
        "rephrased__distill_every_partition_was_made"
    )
    rests_on_distill = "b.jsonl: It rests on rephrased.distill, which failed for this file."
    assert rests_on_distill in texts.pop("merged__documents_every_partition_was_made")
    assert "b.jsonl: It rests on merged.documents, which failed" in texts.pop("metrics__perplexity")
    assert texts == {}

    three_files.server.behaviour = Behaviour()
    before = three_files.server.request_count
    summary, project = three_files.run(strategies=["distill"])
    below = {"rephrased/distill", "merged/documents", "metrics/perplexity"}
    done = {(key.to_user_string(), partition) for key, partition in summary.materialized}
    assert {partition for name, partition in done if name in below} == {"b.jsonl"}
    assert {name for name, partition in done if partition == "b.jsonl"} >= below
    assert ("seed/curated_documents", "b.jsonl") not in done
    assert project.purchases.rephrase.report.requests_sent == 1
    judged = project.purchases.judge.report.requests_sent
    assert three_files.server.request_count - before == 1 + judged


def test_a_backfill_of_one_asset_fails_in_its_own_step_so_that_dagster_shows_the_failed_file(three_files, backfill):
    three_files.server.behaviour = Behaviour(faults=(Fault("status", status=400, containing="Station 1 "),))
    backfill([CURATED], "a.jsonl", "c.jsonl")
    result = backfill([DISTILL], "a.jsonl", "c.jsonl")
    assert set(failures(result)) == {"rephrased__distill"}
    made = three_files.instance.get_materialized_partitions(DISTILL)
    assert made == {"a.jsonl", "c.jsonl"}


def test_a_file_that_failed_alone_goes_on_below_once_it_is_made(three_files, backfill):
    assets = [CURATED, DISTILL, MERGED]
    three_files.server.behaviour = Behaviour(faults=(Fault("status", status=400, containing="Station 1 "),))
    assert not backfill(assets, "b.jsonl", "b.jsonl").success
    three_files.server.behaviour = Behaviour()
    assert backfill(assets, "b.jsonl", "b.jsonl").success
    assert files_of(three_files, "merged.documents") == ["b.jsonl"]


def test_a_run_over_other_files_does_not_fail_for_one_that_failed_before(three_files, backfill):
    assets = [CURATED, DISTILL, MERGED]
    three_files.server.behaviour = Behaviour(faults=(Fault("status", status=400, containing="Station 1 "),))
    assert not backfill(assets, "b.jsonl", "b.jsonl").success
    result = backfill(assets, "c.jsonl", "c.jsonl")
    assert failures(result) == {}
    outcomes = {e.check_name: e for e in result.get_asset_check_evaluations() if e.asset_key == DISTILL}
    failed = outcomes["every_partition_was_made"].metadata["failed_files"].value
    assert failed == ["b.jsonl"]


def test_a_strategy_that_was_not_chosen_is_no_obstacle(three_files, backfill):
    assert backfill([CURATED, DISTILL, MERGED], "a.jsonl", "c.jsonl").success
    found = three_files.rows("SELECT strategy, count(*) n FROM merged.documents GROUP BY 1 ORDER BY 1")
    assert found == [{"strategy": "distill", "n": 3}, {"strategy": "original", "n": 3}]


def test_a_backfill_over_strategies_buys_for_all_of_them_in_one_phase(workplace, make_article, backfill):
    server = workplace.server
    arrivals: list[tuple[int, int]] = []

    def arrives(body: Mapping[str, Any]) -> bool:
        arrivals.append((server.in_flight, body["max_tokens"]))
        return False

    for number in range(6):
        workplace.write(f"{number}.jsonl", [make_article(number)])
    server.behaviour = Behaviour(latency_seconds=0.5, faults=(Fault("status", when=arrives),))
    result = backfill([CURATED, DISTILL, WIKI, EXTRACT, MERGED], "0.jsonl", "5.jsonl")
    assert failures(result) == {}
    assert len(arrivals) >= 3 * 6
    # Six requests each over eight lanes: where one strategy follows another, others are under way in the same lanes.
    turns = [later for earlier, later in pairwise(arrivals) if later[1] != earlier[1]]
    assert len(turns) == 2
    assert all(in_flight > 1 for in_flight, _ in turns), arrivals
    limits = [limit for _, limit in arrivals]
    assert len(set(limits)) == 3
    assert limits[0] == max(limits), "long answers first"
