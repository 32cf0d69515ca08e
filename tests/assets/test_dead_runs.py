"""Runs whose process was killed: what they held is given back, and living runs are left alone."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from synth_assets.assets.dead_runs import PROCESS_TAG, end_dead_runs, mark_run, process_mark
from synth_assets.dagster_home import prepare_dagster_home

CLAIMER = """
import sys, threading
import dagster as dg
from synth_assets.assets.dead_runs import mark_run
with dg.DagsterInstance.from_config(sys.argv[1]) as instance:
    run = instance.create_run_for_job(dg.GraphDefinition("work").to_job())
    mark_run(instance, run)
    instance.report_dagster_event(dg.DagsterEvent(dg.DagsterEventType.RUN_START.value, job_name="work"), run.run_id)
    instance.event_log_storage.initialize_concurrency_limit_to_default("llm")
    instance.event_log_storage.claim_concurrency_slot("llm", run.run_id, "step")
    print(run.run_id, flush=True)
    threading.Event().wait()
"""
"""A process with a run under way that holds the only slot of a pool."""


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    monkeypatch.setenv("DAGSTER_HOME", "")
    prepare_dagster_home(tmp_path / "dagster")
    with dg.DagsterInstance.from_config(str(tmp_path / "dagster")) as opened:
        yield opened


@pytest.fixture
def claimer(instance: dg.DagsterInstance) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A process that has a run and a slot, and the run's identity."""
    command = [sys.executable, "-W", "ignore", "-c", CLAIMER, instance.root_directory]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process, process.stdout.readline().strip()
        process.kill()


def slots(instance: dg.DagsterInstance) -> list[str]:
    return [slot.run_id for slot in instance.event_log_storage.get_concurrency_info("llm").claimed_slots]


def status(instance: dg.DagsterInstance, run_id: str) -> dg.DagsterRunStatus:
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return run.status


def test_a_killed_processs_run_is_ended_and_its_slot_is_free(instance, claimer):
    process, run_id = claimer
    process.kill()
    process.wait()
    assert status(instance, run_id) == dg.DagsterRunStatus.STARTED
    assert slots(instance) == [run_id]

    assert end_dead_runs(instance) == 1
    assert status(instance, run_id) == dg.DagsterRunStatus.FAILURE
    assert slots(instance) == []
    assert end_dead_runs(instance) == 0


def test_a_living_processs_run_keeps_its_slot(instance, claimer):
    _, run_id = claimer
    assert end_dead_runs(instance) == 0
    assert status(instance, run_id) == dg.DagsterRunStatus.STARTED
    assert slots(instance) == [run_id]


def test_a_process_never_takes_itself_for_dead(instance):
    run = instance.create_run_for_job(dg.GraphDefinition("work").to_job())
    mark_run(instance, run)
    assert end_dead_runs(instance) == 0
    marked = instance.get_run_by_id(run.run_id)
    assert marked is not None
    assert marked.tags[PROCESS_TAG] == process_mark(instance)
