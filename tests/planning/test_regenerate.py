"""Asking anew: what it asks, what it keeps, and that it happens once."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from resources.errors import SynthError
from resources.generations import read_generations
from resources.testing import Behaviour, Fault
from synth_assets.assets.versions import Versions
from synth_assets.definitions import project_defs
from synth_assets.planning.estimate import estimate_run
from synth_assets.planning.run import RunSelection
from synth_assets.planning.stale import StalePlanner
from synth_assets.strategies import discover

NAMES = [strategy.name for strategy in discover()]
BILL_AND_PAGE = {"reports.waste", "reports.estimates", "reports.cost", "reports.html"}


@pytest.fixture
def filled(workplace, make_article):
    """Three articles in two files, everything made; the server draws other answers from now on."""
    workplace.write("a.jsonl", [make_article(1), make_article(2, words=600)])
    workplace.write("b.jsonl", [make_article(3)])
    workplace.environment["JUDGE_SHARE"] = "0"
    workplace.run()
    workplace.server.behaviour = Behaviour(draw=1)
    return workplace


def calls(workplace, generation: int | None = None) -> Counter[tuple[str, str]]:
    """Number of kept rephrasing answers by strategy and document."""
    condition = "true" if generation is None else f"generation = {generation}"
    rows = workplace.rows(
        f"SELECT strategy, document_id FROM ledger.completions WHERE strategy IN {tuple(NAMES)} AND {condition}"
    )
    return Counter((row["strategy"], row["document_id"]) for row in rows)


def texts(workplace, strategy: str) -> dict[str, str]:
    rows = workplace.rows(f"SELECT document_id, text FROM rephrased.{strategy}")
    return {row["document_id"]: row["text"] for row in rows}


def documents(workplace, file: str) -> set[str]:
    rows = workplace.rows("SELECT document_id, curator_file FROM seed.curated_documents")
    return {row["document_id"] for row in rows if row["curator_file"] == file}


def made(summary) -> set[tuple[str, str | None]]:
    return {(".".join(key.path), partition) for key, partition in summary.materialized}


def planned_calls(workplace, strategies: tuple[str, ...], files: tuple[str, ...]) -> dict[str, Any]:
    """What `synth plan --regenerate` would count, by strategy."""
    project = workplace.project()
    graph = project_defs(project).resolve_asset_graph()
    project.roots.assume(read_generations(project.lake).with_next(strategies, files))
    selection = RunSelection(strategies, files)
    planner = StalePlanner(graph, Versions(workplace.instance, graph, project.roots), project.lake)
    plans = estimate_run(project, [item for item in planner.everything() if selection.takes(item)]).strategies
    return {name: plan.to_generate for name, plan in plans.items() if plan.documents}


def test_everything_is_asked_exactly_once_more_and_the_old_answers_are_kept(filled):
    before, old = calls(filled), {name: texts(filled, name) for name in NAMES}
    summary, project = filled.run(is_regenerated=True)
    assert (summary.failed, summary.generation) == ([], 1)
    assert project.purchases.rephrase.report.requests_sent == before.total()
    assert calls(filled, 0) == calls(filled, 1) == before
    for name in NAMES:
        new = texts(filled, name)
        assert all(new[document] != text for document, text in old[name].items() if document in new), name

    sent = filled.server.request_count
    summary, _ = filled.run()
    assert (summary.materialized, summary.generation) == ([], None)
    assert filled.server.request_count == sent


def test_the_judge_reads_the_new_texts_and_nothing_else_again(workplace, make_article):
    workplace.write("a.jsonl", [make_article(1)])
    workplace.environment["JUDGE_SHARE"] = "1"
    workplace.run()
    workplace.server.behaviour = Behaviour(draw=1)
    _, project = workplace.run(strategies=["distill"], is_regenerated=True)
    parts = workplace.rows("SELECT sum(part_count)::BIGINT AS n FROM metrics.judge_scores WHERE strategy = 'distill'")
    assert project.purchases.judge.report.requests_sent == parts[0]["n"] > 0


def test_only_the_selected_strategies_and_files_are_asked(filled):
    before, old = calls(filled), texts(filled, "distill")
    outside = documents(filled, "a.jsonl")
    plan = planned_calls(filled, ("distill",), ("b.jsonl",))
    summary, project = filled.run(strategies=["distill"], files=["b.jsonl"], is_regenerated=True)
    again = calls(filled, 1)
    assert {strategy for strategy, _ in again} == {"distill"}
    assert {document for _, document in again} == documents(filled, "b.jsonl")
    assert calls(filled, 0) == before
    assert plan == {"distill": project.purchases.rephrase.report.requests_sent} == {"distill": again.total()}
    assert {item for item in made(summary) if item[0].startswith("rephrased")} == {("rephrased.distill", "b.jsonl")}
    assert {document: text for document, text in texts(filled, "distill").items() if document in outside} == {
        document: text for document, text in old.items() if document in outside
    }
    summary, _ = filled.run()
    assert {partition for _, partition in summary.materialized} <= {None}


def test_the_plan_of_asking_anew_is_what_the_run_sends_and_writes_nothing(filled):
    snapshot = filled.lake.snapshot_id()
    plan = planned_calls(filled, tuple(NAMES), ())
    assert filled.lake.snapshot_id() == snapshot
    filled.run(is_regenerated=True)
    assert plan == dict(Counter(strategy for strategy, _ in calls(filled, 1).elements()))


def test_what_failed_midway_is_finished_by_the_next_plain_run_which_starts_no_other(filled):
    needed = calls(filled)
    filled.server.behaviour = Behaviour(draw=1, faults=(Fault("status", status=400, containing="Station 3 "),))
    summary, _ = filled.run(is_regenerated=True)
    assert {partition for _, partition in summary.failed} == {"b.jsonl"}
    bought = calls(filled, 1).total()
    assert 0 < bought < needed.total()

    filled.server.behaviour = Behaviour(draw=1)
    summary, project = filled.run()
    assert (summary.failed, summary.generation) == ([], None)
    assert project.purchases.rephrase.report.requests_sent == needed.total() - bought
    assert calls(filled, 1) == needed
    assert read_generations(filled.lake).next_number == 2


def test_a_second_generation_follows_the_first_and_may_be_of_one_file(filled):
    needed = calls(filled)
    assert filled.run(is_regenerated=True)[0].generation == 1
    filled.server.behaviour = Behaviour(draw=2)
    first = texts(filled, "distill")
    assert filled.run(files=["b.jsonl"], is_regenerated=True)[0].generation == 2
    own = documents(filled, "b.jsonl")
    assert calls(filled, 2) == Counter({key: count for key, count in needed.items() if key[1] in own})
    second = texts(filled, "distill")
    assert {document for document in first if second.get(document) != first[document]} == own & set(first)
    assert filled.run(is_regenerated=True)[0].generation == 3
    assert calls(filled, 3) == calls(filled, 0) == needed
    sent = filled.server.request_count
    assert filled.run()[0].materialized == []
    assert filled.server.request_count == sent


def test_the_same_answers_once_more_make_nothing_stale_but_the_bill_that_counts_them(workplace, make_article):
    workplace.write("a.jsonl", [make_article(1)])
    workplace.run(has_reports=True)
    summary, _ = workplace.run(strategies=["distill"], is_regenerated=True, has_reports=True)
    assert {name for name, _ in made(summary)} == {"rephrased.distill", *BILL_AND_PAGE}
    assert workplace.run(has_reports=True)[0].materialized == []


def test_a_strategy_that_does_not_exist_starts_no_generation(filled):
    with pytest.raises(SynthError, match="no strategy 'distil'"):
        filled.run(strategies=["distil"], is_regenerated=True)
    assert read_generations(filled.lake).numbers == {}


def test_a_document_in_a_new_file_is_asked_for_in_the_generation_of_all_files(filled, make_article):
    filled.run(is_regenerated=True)
    filled.write("c.jsonl", [make_article(4)])
    filled.run()
    new = documents(filled, "c.jsonl")
    assert {document for _, document in calls(filled, 1)} >= new
    assert not {document for _, document in calls(filled, 0)} & new
