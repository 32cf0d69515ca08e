"""The sensor against real files: what it waits for, what it asks for, and what it never asks for twice."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dagster._core.events import RunFailureReason
from dagster._core.execution.retries import auto_reexecution_should_retry_run
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin

from synth_assets.dagster_home import open_instance
from synth_assets.definitions import project_defs
from synth_assets.settled_files import QUIET_SECONDS, UNFINISHED_SECONDS, Memory

LINE = json.dumps({"text": "An article.", "title": "Article"}) + "\n"
QUIET = QUIET_SECONDS + 1


@dataclass
class Sensor:
    """The project's sensor with its cursor, called as the daemon calls it."""

    definition: dg.SensorDefinition
    instance: dg.DagsterInstance
    cursor: str | None = None
    skipped: str | None = None

    def tick(self) -> list[dg.RunRequest]:
        """One evaluation; the runs that it asks for."""
        with dg.build_sensor_context(instance=self.instance, cursor=self.cursor) as context:
            result = self.definition(context)
        assert isinstance(result, dg.SensorResult)
        self.skipped = result.skip_reason.skip_message if result.skip_reason else None
        self.cursor = result.cursor or self.cursor
        return list(result.run_requests or [])


@pytest.fixture
def sensor(workplace) -> Sensor:
    definition = project_defs(workplace.project()).get_sensor_def("curator_outputs")
    return Sensor(definition, workplace.instance)


def put(folder: Path, name: str, content: str | bytes = LINE, quiet_seconds: float = QUIET) -> Path:
    """A file that was last written to so long ago."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    age(path, quiet_seconds)
    return path


def age(path: Path, quiet_seconds: float) -> None:
    moment = time.time() - quiet_seconds
    os.utime(path, (moment, moment))


def parquet(folder: Path) -> bytes:
    path = folder / "whole.tmp"
    pq.write_table(pa.table({"text": ["An article."]}), path)
    content = path.read_bytes()
    path.unlink()
    return content


def test_a_new_file_asks_for_one_run_and_the_next_tick_for_none(workplace, sensor):
    put(workplace.corpus, "a.jsonl")
    [request] = sensor.tick()
    assert request.tags["synth/changed_files"] == "1"
    assert sensor.tick() == []
    assert sensor.skipped == "no file has changed"


def test_an_empty_folder_asks_for_nothing(sensor):
    assert sensor.tick() == []


def test_many_new_files_are_one_run(workplace, sensor):
    for number in range(5):
        put(workplace.corpus, f"sub/{number}.jsonl")
    [request] = sensor.tick()
    assert request.tags["synth/changed_files"] == "5"


def test_a_file_that_was_just_written_to_waits_and_then_counts(workplace, sensor):
    path = put(workplace.corpus, "a.jsonl", quiet_seconds=0)
    assert sensor.tick() == []
    assert sensor.skipped == "1 file(s) still being written"
    age(path, QUIET)
    assert len(sensor.tick()) == 1


def test_a_growing_file_waits_for_as_long_as_it_grows(workplace, sensor):
    path = put(workplace.corpus, "a.jsonl", quiet_seconds=0)
    for _ in range(3):
        with path.open("a") as file:
            file.write(LINE)
        assert sensor.tick() == []
    age(path, QUIET)
    assert len(sensor.tick()) == 1


def test_a_file_that_is_written_again_keeps_its_old_entry_until_it_is_whole(workplace, sensor):
    path = put(workplace.corpus, "a.jsonl")
    sensor.tick()
    path.write_text(LINE + '{"text": "half a li')
    age(path, QUIET)
    assert sensor.tick() == []
    path.write_text(LINE * 2)
    age(path, QUIET)
    assert len(sensor.tick()) == 1


@pytest.mark.parametrize("name", ["a.jsonl", "a.parquet"])
def test_a_half_written_file_waits_and_a_whole_one_beside_it_does_not(workplace, sensor, name):
    content = LINE.encode() if name.endswith("jsonl") else parquet(workplace.corpus)
    half = put(workplace.corpus, name, content[:-3])
    put(workplace.corpus, "whole.jsonl")
    [request] = sensor.tick()
    assert request.tags["synth/changed_files"] == "1"
    half.write_bytes(content)
    age(half, QUIET)
    assert len(sensor.tick()) == 1


def test_a_file_that_never_becomes_whole_is_taken_as_it_is_in_the_end(workplace, sensor):
    path = put(workplace.corpus, "a.jsonl", LINE.rstrip("\n"))
    assert sensor.tick() == []
    age(path, UNFINISHED_SECONDS + 1)
    assert len(sensor.tick()) == 1


def test_a_changed_and_a_deleted_file_each_ask_for_a_run(workplace, sensor):
    path = put(workplace.corpus, "a.jsonl")
    put(workplace.corpus, "b.jsonl")
    sensor.tick()
    put(workplace.corpus, "a.jsonl", LINE * 2)
    assert len(sensor.tick()) == 1
    path.unlink()
    [request] = sensor.tick()
    assert request.tags["synth/changed_files"] == "1"
    assert list(Memory.of(sensor.cursor).settled) == ["b.jsonl"]


def test_content_a_then_b_then_a_again_are_three_different_runs(workplace, sensor):
    keys = []
    for turn, content in enumerate([LINE, LINE * 2, LINE]):
        put(workplace.corpus, "a.jsonl", content, quiet_seconds=QUIET + 10 * (3 - turn))
        [request] = sensor.tick()
        keys.append(request.run_key)
    assert len(set(keys)) == 3


def test_a_tick_that_is_evaluated_again_asks_for_the_same_run(workplace, sensor):
    put(workplace.corpus, "a.jsonl")
    [first] = sensor.tick()
    sensor.cursor = None
    [again] = sensor.tick()
    assert first.run_key == again.run_key


def test_the_run_that_is_asked_for_is_one_that_exists(workplace, sensor):
    assert sensor.definition.job_name in {job.name for job in project_defs(workplace.project()).jobs or []}


def test_a_file_that_goes_and_comes_back_with_its_old_time_asks_for_three_different_runs(workplace, sensor):
    path = put(workplace.corpus, "a.jsonl")
    put(workplace.corpus, "b.jsonl")
    status = path.stat()
    keys = [request.run_key for request in sensor.tick()]
    path.unlink()
    keys += [request.run_key for request in sensor.tick()]
    path.write_text(LINE)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    keys += [request.run_key for request in sensor.tick()]
    assert len(keys) == len(set(keys)) == 3


def test_a_later_tick_that_is_evaluated_again_with_its_old_cursor_asks_for_the_same_run(workplace, sensor):
    put(workplace.corpus, "a.jsonl")
    sensor.tick()
    before = sensor.cursor
    put(workplace.corpus, "b.jsonl")
    [first] = sensor.tick()
    sensor.cursor = before
    [again] = sensor.tick()
    assert first.run_key == again.run_key


def test_the_first_versions_cursor_still_counts(workplace, sensor):
    path = put(workplace.corpus, "a.jsonl")
    sensor.cursor = json.dumps({"a.jsonl": [path.stat().st_size, path.stat().st_mtime_ns]})
    assert sensor.tick() == []
    assert sensor.skipped == "no file has changed"
    put(workplace.corpus, "b.jsonl")
    [request] = sensor.tick()
    assert request.tags["synth/changed_files"] == "1"


@pytest.mark.parametrize("name", ["a.jsonl.tmp", ".a.jsonl", "_temporary/0/a.jsonl"])
def test_a_writer_that_renames_late_is_seen_when_it_renames_also_with_an_old_time(workplace, sensor, name):
    path = put(workplace.corpus, name, quiet_seconds=3600)
    assert sensor.tick() == []
    path.rename(workplace.corpus / "a.jsonl")
    assert len(sensor.tick()) == 1
    assert list(Memory.of(sensor.cursor).settled) == ["a.jsonl"]


def test_a_writer_that_appends_slowly_costs_one_run_at_its_end(workplace, sensor):
    """Line by line, by halves of lines and of characters, each left to lie for longer than the quiet period."""
    line = json.dumps({"text": "Ærøskøbing – 中文"}, ensure_ascii=False).encode() + b"\n"
    in_a_character = line.index("中".encode()) + 1
    path = put(workplace.corpus, "a.jsonl", b"", quiet_seconds=0)
    for piece in (line[:in_a_character], line[in_a_character:-1], b"\n" + line[:10], line[10:-1]):
        with path.open("ab") as file:
            file.write(piece)
        age(path, QUIET)
        assert sensor.tick() == []
        assert sensor.skipped == "1 file(s) still being written"
    with path.open("ab") as file:
        file.write(b"\n")
    assert sensor.tick() == []
    age(path, QUIET)
    assert len(sensor.tick()) == 1
    assert sensor.tick() == []


@pytest.mark.parametrize(("size", "later"), [(0, 5), (3, 0)], ids=["same size, other time", "same time, other size"])
def test_a_file_that_is_replaced_in_place_counts_as_changed(workplace, sensor, size, later):
    path = put(workplace.corpus, "a.jsonl", LINE, quiet_seconds=3600)
    modified_ns = path.stat().st_mtime_ns
    sensor.tick()
    path.write_text(LINE.replace("An", "Th", 1).rstrip("\n") + " " * size + "\n")
    os.utime(path, ns=(modified_ns, modified_ns + later * 10**9))
    assert len(sensor.tick()) == 1


def queued_run(workplace, job_name: str, run_config: dict[str, Any] | None = None) -> dg.DagsterRun:
    job = next(job for job in project_defs(workplace.project()).jobs or [] if job.name == job_name)
    location = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("synth_assets"), "__repository__")
    return workplace.instance.create_run_for_job(
        job,
        run_config=run_config,
        status=dg.DagsterRunStatus.QUEUED,
        remote_job_origin=RemoteJobOrigin(location, job_name),
    )


def test_while_a_run_that_will_see_the_files_is_queued_none_is_asked_for_and_none_is_forgotten(workplace, sensor):
    queued = queued_run(workplace, sensor.definition.job_name)
    put(workplace.corpus, "a.jsonl")
    assert sensor.tick() == []
    assert "queued" in (sensor.skipped or "")
    workplace.instance.report_run_canceled(queued)
    assert len(sensor.tick()) == 1


def test_a_queued_run_of_chosen_files_does_not_keep_the_sensor_waiting(workplace, sensor):
    chosen = {"ops": {"materialize_stale": {"config": {"files": ["b.jsonl"]}}}}
    queued_run(workplace, sensor.definition.job_name, chosen)
    put(workplace.corpus, "a.jsonl")
    assert len(sensor.tick()) == 1


def test_a_run_whose_process_dies_is_retried_twice_and_one_whose_asset_fails_is_not(
    workplace, sensor, tmp_path, monkeypatch
):
    put(workplace.corpus, "a.jsonl")
    [request] = sensor.tick()
    jobs = project_defs(workplace.project()).jobs or []
    job = next(job for job in jobs if job.name == sensor.definition.job_name)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    answers = []
    with open_instance(tmp_path / "dagster") as instance:
        assert instance.run_retries_enabled
        family: dict[str, str] = {}
        for _ in range(3):
            fields = {name.removeprefix("dagster/"): run_id for name, run_id in family.items()}
            run = instance.create_run_for_job(job, tags={**request.tags, **family}, **fields)
            instance.report_run_failed(run)
            failed = instance.get_run_by_id(run.run_id)
            assert failed is not None
            reasons = (RunFailureReason.UNEXPECTED_TERMINATION, RunFailureReason.STEP_FAILURE)
            answers.append(tuple(auto_reexecution_should_retry_run(instance, failed, reason) for reason in reasons))
            root = family.get("dagster/root_run_id", run.run_id)
            family = {"dagster/root_run_id": root, "dagster/parent_run_id": run.run_id}
    assert answers == [(True, False), (True, False), (False, False)]
