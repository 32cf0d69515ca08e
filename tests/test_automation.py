"""Declarative automation against the planner: what each tick asks for, and what it never asks for twice."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import dagster as dg
import pytest

from resources.generations import start_generation
from resources.inference import ServedModel
from resources.testing import Behaviour, Fault
from synth_assets.assets.keys import ASKED_FOR_BY_NAME, CURATED
from synth_assets.assets.versions import Versions
from synth_assets.automation import AUTOMATION
from synth_assets.core.strategy import Strategy
from synth_assets.curator_partitions import CURATOR_PARTITIONS
from synth_assets.definitions import project_defs
from synth_assets.jobs import BRING_UP_TO_DATE
from synth_assets.planning.stale import StalePlanner
from synth_assets.project import Project
from synth_assets.strategies import discover

STRATEGIES = discover()[:2]
REPHRASED = [f"rephrased.{strategy.name}" for strategy in STRATEGIES]
FILES = ("a.jsonl", "b.jsonl")
SEED_OF_A = ("seed.curated_documents", "a.jsonl")
NOT_DRAWN = ("reports", "export")
"""Left out where a test is not about them, since they draw charts."""
REFUSES_STATION_5 = Behaviour(faults=(Fault("status", status=400, containing="Station 5 "),))
RANGE_START, RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"

Asked = set[tuple[str, str | None]]


@dataclass
class Automation:
    """A project with both sensors, called as the daemon calls them."""

    workplace: Any
    project: Project
    definitions: dg.Definitions
    cursor: Any = None
    folder_cursor: str | None = None
    has_reports: bool = False

    @property
    def instance(self) -> dg.DagsterInstance:
        return self.workplace.instance

    def put(self, name: str, documents: Iterable[dict[str, Any]], quiet_seconds: float = 60) -> None:
        """Write a file that was last written to so long ago."""
        path = self.workplace.write(name, [*documents])
        moment = time.time() - quiet_seconds
        os.utime(path, (moment, moment))

    def look(self) -> None:
        """A tick of the sensor that looks at the folder and the models."""
        sensor = self.definitions.get_sensor_def(CURATOR_PARTITIONS)
        context = dg.build_sensor_context(instance=self.instance, cursor=self.folder_cursor)
        result = sensor(context)
        assert isinstance(result, dg.SensorResult)
        assert not result.run_requests
        self.folder_cursor = result.cursor

    def tick(self) -> Asked:
        """A tick of the conditions: what it asks for."""
        everything = dg.AssetSelection.all()
        selection = everything if self.has_reports else everything - dg.AssetSelection.groups(*NOT_DRAWN)
        result = dg.evaluate_automation_conditions(
            self.definitions, self.instance, asset_selection=selection, cursor=self.cursor
        )
        self.cursor = result.cursor
        keys = self.definitions.resolve_asset_graph().get_all_asset_keys()
        return {(".".join(key.path), name) for key in keys for name in result.get_requested_partitions(key)}

    def make(self, asked: Asked) -> bool:
        """Run what was asked for as the daemon does, in a process's worth of state; whether all succeeded."""
        definitions = project_defs(self.workplace.project())
        job = definitions.resolve_implicit_global_asset_job_def()
        is_success = True
        for key in definitions.resolve_asset_graph().toposorted_asset_keys:
            names = sorted(name or "" for asset, name in asked if asset == ".".join(key.path))
            if names:
                tags = {RANGE_START: names[0], RANGE_END: names[-1]} if names[0] else {}
                part = job.get_subset(asset_selection={key})
                result = part.execute_in_process(instance=self.instance, tags=tags, raise_on_error=False)
                is_success &= result.success
        return is_success

    def settle(self) -> list[Asked]:
        """Tick and run until a tick asks for nothing: what each tick asked for."""
        levels = []
        while asked := self.tick():
            levels.append(asked)
            assert self.make(asked)
        return levels

    def planned(self) -> Asked:
        """What `synth plan` lists, from live files: stale by itself or below something stale."""
        project = self.workplace.project()
        definitions = project_defs(project)
        graph = definitions.resolve_asset_graph()
        left_out = [] if self.has_reports else [key for key in graph.get_all_asset_keys() if key.path[0] in NOT_DRAWN]
        versions = Versions(self.instance, graph, project.roots)
        planner = StalePlanner(graph, versions, project.lake, [*ASKED_FOR_BY_NAME, *left_out])
        return {(".".join(item.asset.path), item.partition) for item in planner.everything()}

    def change_strategies(self, strategies: Sequence[Strategy]) -> None:
        """Load the code location again with other strategies; the daemon keeps its cursors."""
        self.workplace.overrides["strategies"] = [*strategies]
        self.project = self.workplace.project()
        self.definitions = project_defs(self.project)

    def synth_run(self) -> None:
        """`synth run`, reports left out."""
        summary, _ = self.workplace.run(has_measures=True)
        assert summary.failed == []


@pytest.fixture
def automation(workplace) -> Automation:
    workplace.overrides["strategies"] = STRATEGIES
    project = workplace.project()
    return Automation(workplace, project, project_defs(project))


@pytest.fixture
def settled(automation, make_article) -> Automation:
    """Two files that `synth run` has brought through every table, and both sensors turned on after it."""
    automation.put("a.jsonl", [make_article(1)])
    automation.put("b.jsonl", [make_article(2)])
    automation.synth_run()
    automation.look()
    assert automation.tick() == set()
    return automation


def test_on_an_empty_instance_nothing_is_asked_for_until_someone_has_looked(automation, make_article):
    automation.put("a.jsonl", [make_article(1)])
    assert automation.tick() == set()
    automation.look()
    assert automation.tick() == {("seed.curated_documents", "a.jsonl")}


def test_levels_follow_each_other_and_add_up_to_the_plan(automation, make_article):
    automation.has_reports = True
    automation.put("a.jsonl", [make_article(1)])
    automation.put("b.jsonl", [make_article(2)])
    automation.look()
    planned = automation.planned()
    levels = automation.settle()
    assert levels[0] == {("seed.curated_documents", name) for name in FILES}
    assert levels[1] == {("seed.profile", None), *((asset, name) for asset in REPHRASED for name in FILES)}
    assert set.union(*levels) == planned
    assert sum(len(level) for level in levels) == len(planned), "each once"
    assert automation.planned() == set()


def test_an_edited_file_asks_for_what_the_plan_lists_and_nothing_of_the_other(settled, make_article):
    settled.put("a.jsonl", [make_article(1), make_article(3)])
    planned = settled.planned()
    settled.look()
    levels = settled.settle()
    assert set.union(*levels) == planned
    assert {name for _, name in planned} == {"a.jsonl", None}
    assert settled.planned() == set()


def test_a_reordered_file_asks_for_its_seed_alone(settled, make_article):
    settled.put("a.jsonl", [make_article(3), make_article(1)])
    settled.synth_run()
    settled.put("a.jsonl", [make_article(1), make_article(3)])
    settled.look()
    assert settled.settle() == [{SEED_OF_A}]
    assert settled.planned() == set()


def test_an_edited_prompt_asks_for_that_strategy_and_what_is_below(settled):
    first, second = STRATEGIES
    settled.change_strategies([replace(first, instructions=first.instructions + " Be brief."), second])
    planned = settled.planned()
    levels = settled.settle()
    assert levels[0] == {(REPHRASED[0], name) for name in FILES}
    assert set.union(*levels) <= planned
    assert settled.planned() == set()


def test_another_model_asks_for_the_strategies_and_the_judge(settled):
    settled.workplace.server.models = (ServedModel("another-model", root="another/model", max_model_len=8192),)
    settled.look()
    first = {(asset, name) for asset in (*REPHRASED, "metrics.judge_scores") for name in FILES}
    assert settled.tick() == {item for item in first if item[0] != "metrics.judge_scores"}


def test_answers_that_are_to_be_asked_for_anew_are_asked_for_as_the_plan_says(settled):
    start_generation(settled.project.lake, [STRATEGIES[0].name], ["a.jsonl"])
    planned = settled.planned()
    levels = settled.settle()
    assert levels[0] == {(REPHRASED[0], "a.jsonl")} <= planned
    assert settled.planned() == set()


def test_a_failing_file_is_asked_for_once_and_again_when_it_changes(settled, make_article):
    settled.workplace.server.behaviour = REFUSES_STATION_5
    settled.put("b.jsonl", [make_article(5)])
    settled.look()
    asked = []
    for _ in range(10):
        now = settled.tick()
        asked += sorted(now, key=str)
        settled.make(now)
        settled.look()
    failing = {(asset, "b.jsonl") for asset in REPHRASED}
    assert [item for item in asked if item in failing] == sorted(failing)
    assert ("merged.documents", "b.jsonl") not in asked, "what is below a failed file waits"
    assert failing <= settled.planned()

    settled.workplace.server.behaviour = Behaviour()
    settled.put("b.jsonl", [make_article(6)])
    settled.look()
    assert ("merged.documents", "b.jsonl") in set.union(*settled.settle())
    assert settled.planned() == set()


def test_what_reduces_over_all_files_waits_for_the_last_and_goes_on_without_a_failed_one(automation, make_article):
    automation.workplace.server.behaviour = REFUSES_STATION_5
    automation.has_reports = True
    automation.put("a.jsonl", [make_article(1)])
    automation.put("b.jsonl", [make_article(5)])
    automation.look()
    levels = []
    while asked := automation.tick():
        levels.append(asked)
        automation.make(asked)
    everything = [item for level in levels for item in level]
    assert everything.count(("reports.cost", None)) == 1
    assert ("merged.documents", "a.jsonl") in everything
    assert ("merged.documents", "b.jsonl") not in everything


def test_a_deleted_file_asks_for_what_reduces_over_it_and_comes_back_for_nothing(settled, make_article):
    (settled.workplace.corpus / "b.jsonl").unlink()
    settled.look()
    assert settled.settle() == [{("seed.profile", None), ("merged.near_duplicates", None)}]
    assert settled.planned() == set()

    sent = settled.workplace.server.request_count
    settled.put("b.jsonl", [make_article(2)])
    settled.look()
    levels = settled.settle()
    assert levels[0] == {("seed.curated_documents", "b.jsonl")}
    assert ("merged.documents", "b.jsonl") in set.union(*levels)
    assert settled.workplace.server.request_count == sent
    assert settled.planned() == set()


def test_a_file_that_is_being_written_is_neither_new_nor_changed_nor_deleted(settled, make_article):
    settled.folder_cursor = None
    settled.put("a.jsonl", [make_article(3)], quiet_seconds=0)
    settled.put("c.jsonl", [make_article(4)], quiet_seconds=0)
    settled.look()
    assert settled.tick() == set()
    settled.put("a.jsonl", [make_article(3)])
    settled.put("c.jsonl", [make_article(4)])
    settled.look()
    assert settled.tick() == {SEED_OF_A, ("seed.curated_documents", "c.jsonl")}


def test_nothing_is_asked_for_while_a_run_of_everything_stale_waits_or_works(settled, make_article):
    settled.put("a.jsonl", [make_article(3)])
    settled.look()
    job = settled.definitions.resolve_job_def(BRING_UP_TO_DATE)
    run = settled.instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
    assert settled.tick() == set()
    settled.instance.report_run_failed(run)
    assert settled.tick() == {SEED_OF_A}


def test_what_a_run_is_about_to_make_is_left_to_it(settled, make_article):
    settled.put("a.jsonl", [make_article(3)])
    settled.look()
    job = settled.definitions.resolve_implicit_global_asset_job_def().get_subset(asset_selection={CURATED})
    tags = {"dagster/partition": "a.jsonl"}
    run = settled.instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED, tags=tags)
    assert settled.tick() == set()
    settled.instance.report_run_failed(run)
    assert settled.tick() == {SEED_OF_A}


def test_a_request_that_came_to_no_run_is_repeated_twice_at_most(settled, make_article):
    settled.put("a.jsonl", [make_article(3)])
    settled.look()
    assert [settled.tick() for _ in range(10)] == [{SEED_OF_A}] * 3 + [set()] * 7


def test_a_changed_file_that_was_asked_for_before_is_asked_for_again(settled, make_article):
    for content in ([make_article(3)], [make_article(1)], [make_article(3)]):
        settled.put("a.jsonl", content)
        settled.look()
        asked = settled.tick()
        assert asked == {SEED_OF_A}
        settled.synth_run()


def test_several_files_become_one_backfill_and_one_file_a_run(automation, make_article):
    sensor = automation.definitions.get_sensor_def(AUTOMATION)
    repository = automation.definitions.get_repository_def()
    automation.put("a.jsonl", [make_article(1)])
    automation.look()
    with dg.build_sensor_context(instance=automation.instance, repository_def=repository) as context:
        [request] = sensor.evaluate_tick(context).run_requests or []
    assert (request.partition_key, request.requires_backfill_daemon()) == ("a.jsonl", False)
    automation.put("b.jsonl", [make_article(2)])
    automation.look()
    with dg.build_sensor_context(instance=automation.instance, repository_def=repository) as context:
        [request] = sensor.evaluate_tick(context).run_requests or []
    assert request.requires_backfill_daemon()
