"""Our planner against Dagster's own staleness, wherever Dagster's is right: the UI then shows what a run would do.

Dagster is right while a reducer has fewer than 100 upstream partitions and none of them was deleted; where it is not,
`docs/staleness.md` says so.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContextForTest

from resources.inference import ServedModel
from synth_assets.assets.keys import ASKED_FOR_BY_NAME
from synth_assets.assets.roots import observe_roots
from synth_assets.assets.versions import Versions
from synth_assets.definitions import project_defs
from synth_assets.planning.files import file_changes, partitioned_tables, synchronise_partitions
from synth_assets.planning.stale import StalePlanner
from synth_assets.strategies import discover

DISTILL = next(strategy for strategy in discover() if strategy.name == "distill")
State = set[tuple[str, str | None]]


@pytest.fixture
def made(workplace, make_article):
    workplace.overrides["strategies"] = [DISTILL]
    workplace.write("a.jsonl", [make_article(1), make_article(2)])
    workplace.write("b.jsonl", [make_article(3)])
    workplace.run(has_measures=True)
    return workplace


def both(workplace: Any) -> tuple[State, State]:
    """What is stale for the planner and for Dagster, each asset judged by itself, once the roots were looked at."""
    project = workplace.project()
    graph = project_defs(project).resolve_asset_graph()
    instance = workplace.instance
    versions = Versions(instance, graph, project.roots)
    synchronise_partitions(instance, project.lake, file_changes(versions), partitioned_tables(graph))
    observe_roots(instance, project.roots)
    versions = Versions(instance, graph, project.roots)
    # The reports draw charts; the profile of the corpus reduces over all files as they do.
    reports = [key for key in graph.get_all_asset_keys() if key.path[0] in ("reports", "export")]
    planner = StalePlanner(graph, versions, project.lake, (*ASKED_FOR_BY_NAME, *reports))
    stale = (item for level in planner.levels() for key in level for item in planner.stale(key))
    ours = {(item.asset.to_user_string(), item.partition) for item in stale}
    resolver = CachingStaleStatusResolver(instance, graph, LoadingContextForTest(instance))
    theirs = {
        (key.to_user_string(), partition)
        for level in planner.levels()
        for key in level
        for partition in versions.partitions(key)
        if resolver.get_status(key, partition) != StaleStatus.FRESH
    }
    return ours, theirs


def test_after_a_run_nothing_is_stale_for_either(made):
    ours, theirs = both(made)
    assert (ours, theirs) == (set(), set())


def test_one_file_alone_is_unchanged_for_both_after_its_run(workplace, make_article):
    """A run of one partition has tags from Dagster, which knows no version of what was only observed."""
    workplace.overrides["strategies"] = [DISTILL]
    workplace.write("a.jsonl", [make_article(1)])
    workplace.run(has_measures=True)
    assert both(workplace) == (set(), set())
    project = workplace.project()
    versions = Versions(workplace.instance, project_defs(project).resolve_asset_graph(), project.roots)
    assert file_changes(versions).as_dict() == {"new": [], "changed": [], "deleted": [], "unchanged": ["a.jsonl"]}


def edited_file(workplace: Any, make_article: Any) -> None:
    workplace.write("a.jsonl", [make_article(1), make_article(7)])


def edited_prompt(workplace: Any, make_article: Any) -> None:
    workplace.overrides["strategies"] = [replace(DISTILL, instructions=DISTILL.instructions + " Be brief.")]


def reordered_file(workplace: Any, make_article: Any) -> None:
    workplace.write("a.jsonl", [make_article(2), make_article(1)])


def changed_model(workplace: Any, make_article: Any) -> None:
    workplace.server.models = (ServedModel("another-model", root="another/model", max_model_len=8192),)
    workplace.project().rephraser.remember()


@pytest.mark.parametrize("change", [edited_file, edited_prompt, reordered_file, changed_model])
def test_both_find_the_same_stale_after_a_change_and_nothing_after_the_next_run(made, make_article, change):
    change(made, make_article)
    ours, theirs = both(made)
    assert ours
    assert ours == theirs
    made.run(has_measures=True)
    assert both(made) == (set(), set())


def test_dagster_does_not_see_that_a_deleted_file_leaves_the_reducers_stale(made):
    (made.corpus / "b.jsonl").unlink()
    ours, theirs = both(made)
    assert ours == {("seed/profile", None), ("merged/near_duplicates", None)}
    assert theirs == set()
